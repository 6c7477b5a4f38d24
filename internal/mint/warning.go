package mint

import "mailbeacon/internal/rewrite"

// Warning is something that the sender should know: one of the below, or of package rewrite's.
type Warning string

const (
	// WarnUnsubscribe: the mail's own address in List-Unsubscribe gave way to ours.
	WarnUnsubscribe Warning = "unsubscribe_replaced"
	// WarnNoNumber: links are not counted, since the campaign has as many as it can have.
	WarnNoNumber Warning = "no_link_number"
	// WarnManyLinks: the campaign has manyLinks links or more.
	WarnManyLinks Warning = "many_links"
)

// manyLinks is how many links of a campaign look as if they differed from person to person.
const manyLinks = 1000

var explanations = map[Warning]string{
	WarnNoNumber: "links were left as they are and are not counted: the campaign has all the 65,534 links that it can have. " +
		"Do addresses in the mail differ from person to person?",
	WarnManyLinks: "the campaign has 1,000 links or more, which usually means that addresses in the mail differ from person to person: " +
		"such links count for nothing together, each is kept for ever, and at 65,534 no more are counted. " +
		`data-mailbeacon="off" on a link keeps it as it is`,
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
