package report

// Plain is a text as it may be printed to a terminal: what somebody else wrote can't steer it.
func Plain(s string) string { return clean(s) }

// Grouped is a number with its digits grouped by thousands.
func Grouped(n uint64) string { return number(n) }
