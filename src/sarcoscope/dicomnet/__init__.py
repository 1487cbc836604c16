"""DICOM over the network: receive, send, and fetch by C-FIND/C-GET/C-MOVE or DICOMweb."""
