"""Many studies: clinical tables, cohort definitions, prevalence, references of a centre, outcome."""
