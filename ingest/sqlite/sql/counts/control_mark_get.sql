SELECT position FROM control_mark
