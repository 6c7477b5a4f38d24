package report

// CSVCell is a text as it may stand in a table that is opened with a spreadsheet: defused where it would be taken for a formula.
func CSVCell(s string) string { return cell(s) }

// Plain is a text as it may be printed to a terminal: what somebody else wrote can't steer it.
func Plain(s string) string { return clean(s) }

// Grouped is a number with its digits grouped by thousands.
func Grouped(n uint64) string { return number(n) }
