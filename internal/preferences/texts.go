package preferences

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// texts are all the words of the page in one language. To add a language, write another value and
// choose between them in newPage's caller.
type texts struct {
	Lang string // BCP 47

	Title, SavedTitle, Intro string

	OpensTitle, OpensText, OpensYes, OpensNo                    string
	ClicksTitle, ClicksText, ClicksYes, ClicksNo                string
	FormatTitle, FormatText, FormatHTML, FormatPlain, FormatNow string

	Counted, NotCounted string // the present state of opens and clicks
	NotChosen           string // follows either, where the person never chose
	Save                string

	MailTitle, Subscribed, Unsubscribed, Unsubscribe, Subscribe string

	Notices map[Outcome]string
}

var english = texts{
	Lang:       "en",
	Title:      "Your mail preferences",
	SavedTitle: "Saved: your mail preferences",
	Intro: "You decide what may be counted when you read our mail. Your choice holds from now on, " +
		"for messages that you have already received too. You can change it here at any time.",

	OpensTitle: "Opening a message",
	OpensText:  "A message can load a tiny invisible image. It tells that the message was opened, and about when.",
	OpensYes:   "You may count that I opened a message",
	OpensNo:    "Do not count it",

	ClicksTitle: "Following a link",
	ClicksText:  "A link can pass a counter on its way. It tells which link was followed, and about when. Links work either way.",
	ClicksYes:   "You may count which links I follow",
	ClicksNo:    "Do not count them",

	FormatTitle: "Form of the messages",
	FormatText:  "Plain text carries no image and no counted link: nothing is counted at all, whatever you chose above.",
	FormatHTML:  "With pictures and formatting",
	FormatPlain: "Plain text only",
	FormatNow:   "At present messages come with pictures and formatting.",

	Counted:    "At present this is counted.",
	NotCounted: "At present this is not counted.",
	NotChosen:  "You have not chosen yet.",
	Save:       "Save my choices",

	MailTitle:    "Receiving mail",
	Subscribed:   "You receive our mail.",
	Unsubscribed: "You are unsubscribed. Nothing is counted any more.",
	Unsubscribe:  "Unsubscribe",
	Subscribe:    "Subscribe again",

	Notices: map[Outcome]string{
		Saved:     "Your choice is saved and in effect.",
		Soon:      "Your choice is saved. It takes effect within moments.",
		OneClick:  "You are unsubscribed.",
		Unchanged: "Nothing was chosen, so nothing was changed.",
		Invalid:   "This was not understood, and nothing was changed. Please use the form on this page.",
		Limited:   "There were many changes in a short time. Nothing was changed now. Please try again in a minute.",
		Failed:    "Your choice could not be saved, and nothing was changed. Please try again in a minute.",
		Nobody:    "This message was sent without anything that tells it was sent to you, so nothing of you is counted and there is nothing to choose here.",
	},
}

// version names the words that somebody read before choosing, for the ledger: it changes whenever
// one of them does.
func (t texts) version() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", t))
	return "preferences/" + t.Lang + "/" + hex.EncodeToString(sum[:6])
}
