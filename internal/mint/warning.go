package mint

import "mailbeacon/internal/rewrite"

// Warning is something that the sender should know: one of the below, or of package rewrite's.
type Warning string

const (
	// WarnUnsubscribe: the mail's own address in List-Unsubscribe gave way to ours.
	WarnUnsubscribe Warning = "unsubscribe_replaced"
)

var explanations = map[Warning]string{
	WarnUnsubscribe: "the web address in the mail's own List-Unsubscribe gave way to mailbeacon's, since one-click knows only one: " +
		"take who leaves there from the feed of changes of consent",
}

// Explain is the warning as a sentence.
func (w Warning) Explain() string {
	if text, ok := explanations[w]; ok {
		return text
	}
	return rewrite.Warning(w).Explain()
}

// warn notes a warning once.
func (out *Message) warn(w Warning) {
	for _, have := range out.Warnings {
		if have == w {
			return
		}
	}
	out.Warnings = append(out.Warnings, w)
}
