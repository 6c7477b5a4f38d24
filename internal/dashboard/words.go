package dashboard

import (
	"maps"
	"slices"
	"strings"
)

// reasons are why mail is not trackable or an event is not counted, in words.
var reasons = map[string]struct{ word, mail, event string }{
	"opted_out":        {"opted out", "The person refused to be measured, or left.", "The person refused it, or left: in mail already sent, too."},
	"plain_text":       {"plain text", "The person asked for plain text, which has neither pixel nor counted links.", "The person asked for plain text meanwhile."},
	"gpc":              {"asked by the browser", "", "The browser asked not to be tracked (Sec-GPC: 1). The link worked; nobody is told of."},
	"no_basis":         {"no basis", "Nothing is known of the person, and nothing is measured without consent here.", "Nothing is known of the person, and nothing is measured without consent here."},
	"aggregate_only":   {"counted without a person", "The mail carries no person: its opens and clicks are in the totals, and in no rate.", ""},
	"date_only":        {"date only", "Nothing but the date of the last activity is kept of the person, or of this campaign.", "Nothing but the date of the last activity is kept of the person, or of this campaign."},
	"not_minted":       {"made elsewhere", "The mail was delivered, but no pixel and no links were made for it here.", ""},
	"unknown_campaign": {"unknown campaign", "", "The campaign was not registered when the event came."},
	"quarantined":      {"damaged", "", "The record was damaged on disk or on its way, and was set aside."},
}

// word is a reason as people read it.
func word(reason string) string {
	if w, ok := reasons[reason]; ok {
		return w.word
	}
	return strings.ReplaceAll(reason, "_", " ")
}

// clients are families of mail programs and browsers.
var clients = map[string]string{
	"other": "Other, or not told", "apple_mail": "Apple Mail", "gmail": "Gmail", "outlook": "Outlook", "yahoo_mail": "Yahoo Mail",
	"thunderbird": "Thunderbird", "samsung_mail": "Samsung Mail", "chrome": "Chrome", "safari": "Safari", "firefox": "Firefox",
	"edge": "Edge", "opera": "Opera",
}

func client(family string) string {
	if name, ok := clients[family]; ok {
		return name
	}
	return strings.ReplaceAll(family, "_", " ")
}

// most are the keys of counts, the highest first.
func most(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return byNumber(m[a], m[b], a, b) })
}

// parts is a sum's parts in a line: "412 opted out, 80 plain text".
func parts(m map[string]uint64) string {
	all := make([]string, 0, len(m))
	for _, reason := range most(m) {
		all = append(all, count(m[reason])+" "+word(reason))
	}
	return list(all)
}

// capital is a text with a capital at its beginning, if that is a letter of ASCII.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
