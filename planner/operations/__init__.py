"""What the operations of a trace are: one file of ``kinds/`` a kind, looked up in ``registry``."""
