package dashboard

import (
	"mailbeacon/internal/consent"
)

// bases are what holds for people who said nothing, in words.
var bases = map[consent.Basis]string{
	consent.BasisSubject:   "Mail to people who said nothing is measured, person by person (--basis subject).",
	consent.BasisAggregate: "Mail to people who said nothing is counted without the person (--basis aggregate).",
	consent.BasisNone:      "Mail to people who said nothing is not measured (--basis none).",
}

// consentBody is the body of the page.
type consentBody struct{ Basis, Size string }

// consent is what people chose, in numbers. Nobody can be looked up here.
func (d *Dashboard) consent(k *look) (*sheet, error) {
	c := d.o.Consent.Census()
	t := &table{
		ID: "choices", Caption: "What people chose", Note: "One person may stand in several lines.",
		Columns: []column{
			{Title: "Choice", Fields: []string{"choice"}}, {Title: "People", Number: true, Fields: []string{"people"}},
			{Title: "Share", Number: true, Fields: []string{"share"}}, {Title: "What follows"},
		},
	}
	for _, one := range []struct {
		key, name string
		n         uint64
		then      string
	}{
		{"opens_refused", "Refused opens", c.OpensRefused, "None of their opens is counted, in mail already sent either."},
		{"clicks_refused", "Refused clicks", c.ClicksRefused, "Links work; none of their clicks is counted."},
		{"plain_text", "Asked for plain text", c.PlainText, "Neither pixel nor counted links, ever."},
		{"unsubscribed", "Left", c.Unsubscribed, "No more mail is to be sent, and nothing of what was sent is counted."},
		{"date_only", "Date only", c.DateOnly, "Of what they did not refuse, the date of the last activity alone."},
		{"opens_granted", "Granted opens", c.OpensGranted, "Measured, whatever holds for others."},
		{"clicks_granted", "Granted clicks", c.ClicksGranted, "Measured, whatever holds for others."},
		{"html", "Asked for HTML", c.HTML, "They took a choice of plain text back, or said so."},
	} {
		t.Rows = append(t.Rows, row{Cells: []cell{
			{Text: one.name, Values: []any{one.key}}, number(one.n), shareCell(one.n, c.People), {Text: one.then},
		}})
	}
	t.Foot = []row{{Class: "sum", Cells: []cell{{Text: "People who ever chose anything"}, number(c.People), shareCell(c.People, c.People), {}}}}
	return k.finish(&sheet{
		Title: "Consent", AsOf: k.now, Body: consentBody{bases[d.o.Consent.Basis()], size(int64(d.o.Consent.Bytes()))}, Tables: []*table{t},
	}), nil
}
