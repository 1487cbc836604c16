"""How the shipped networks were trained (needs the extra ``train``)."""
