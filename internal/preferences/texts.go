package preferences

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

// texts are all the words of the page in one language, as a LANGUAGE.yaml file holds them.
type texts struct {
	Lang string `yaml:"-"`   // BCP 47
	Dir  string `yaml:"dir"` // of writing: "ltr", which is also meant by nothing, or "rtl"

	Title      string `yaml:"title"`
	SavedTitle string `yaml:"saved_title"`
	Intro      string `yaml:"intro"`
	GPC        string `yaml:"gpc"`  // where the browser sends Sec-GPC: 1
	Logo       string `yaml:"logo"` // instead of the picture

	OpensTitle  string `yaml:"opens_title"`
	OpensText   string `yaml:"opens_text"`
	OpensYes    string `yaml:"opens_yes"`
	OpensNo     string `yaml:"opens_no"`
	ClicksTitle string `yaml:"clicks_title"`
	ClicksText  string `yaml:"clicks_text"`
	ClicksYes   string `yaml:"clicks_yes"`
	ClicksNo    string `yaml:"clicks_no"`
	FormatTitle string `yaml:"format_title"`
	FormatText  string `yaml:"format_text"`
	FormatHTML  string `yaml:"format_html"`
	FormatPlain string `yaml:"format_plain"`
	FormatNow   string `yaml:"format_now"` // where no form was chosen

	// The present state of opens and clicks; NotChosen follows where the person never chose.
	Counted        string `yaml:"counted"`
	CountedUnnamed string `yaml:"counted_unnamed"`
	CountedDate    string `yaml:"counted_date"` // nothing is kept but the day
	NotCounted     string `yaml:"not_counted"`
	NotChosen      string `yaml:"not_chosen"`
	Save           string `yaml:"save"`

	MailTitle    string `yaml:"mail_title"`
	MailText     string `yaml:"mail_text"`
	Subscribed   string `yaml:"subscribed"`
	Unsubscribed string `yaml:"unsubscribed"`
	Unsubscribe  string `yaml:"unsubscribe"`
	Subscribe    string `yaml:"subscribe"`

	ReceiptTitle string `yaml:"receipt_title"`
	ReceiptText  string `yaml:"receipt_text"`
	ReceiptLabel string `yaml:"receipt_label"`

	// Where an address leads nowhere.
	NotFoundTitle string `yaml:"not_found_title"`
	NotFoundText  string `yaml:"not_found_text"`
	NotFoundHelp  string `yaml:"not_found_help"`

	Notices map[Outcome]string `yaml:"notices"`
}

//go:embed texts/*.yaml
var builtin embed.FS

// builtinLanguages are those that come with the program; the first is for people who read none of them.
var builtinLanguages = []string{"en", "de"}

// textsOf are the words that come with the program in a language, or none.
func textsOf(lang string) (texts, error) {
	t := texts{Lang: lang}
	if !slices.Contains(builtinLanguages, lang) {
		return t, nil
	}
	content, err := builtin.ReadFile("texts/" + lang + ".yaml")
	if err != nil {
		return t, fmt.Errorf("preference page: %w", err)
	}
	return t, t.read(content)
}

// read takes over the words that a file has, and wants every one to be there then.
func (t *texts) read(content []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(t); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return t.check()
}

const mostText = 4 << 10 // bytes

// check says which text is missing.
func (t *texts) check() error {
	if t.Dir == "" {
		t.Dir = "ltr"
	}
	if t.Dir != "ltr" && t.Dir != "rtl" {
		return fmt.Errorf("dir is %q; right would be ltr or rtl", t.Dir)
	}
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			if err := checkText(v.Type().Field(i).Tag.Get("yaml"), f.String()); err != nil {
				return err
			}
		}
	}
	for o := range Outcome(outcomes) {
		if o == Shown || o == NotFound {
			continue
		}
		if err := checkText("notices, "+o.String(), t.Notices[o]); err != nil {
			return err
		}
	}
	return nil
}

func checkText(name, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("%s is missing or empty", name)
	case len(text) > mostText:
		return fmt.Errorf("%s has %d bytes; right would be %d at most", name, len(text), mostText)
	}
	return nil
}

// UnmarshalText reads an outcome that has words of its own in a file of texts.
func (o *Outcome) UnmarshalText(word []byte) error {
	i := slices.Index(outcomeNames[:], string(word))
	if i < 0 || Outcome(i) == Shown || Outcome(i) == NotFound {
		return fmt.Errorf("there is no notice %q", word)
	}
	*o = Outcome(i)
	return nil
}

// version names the words that somebody read before choosing, for the ledger: it changes whenever
// one of them does.
func (t *texts) version() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", *t))
	return "preferences/" + t.Lang + "/" + hex.EncodeToString(sum[:6])
}

// parseLanguage reads a file's name without its ending as a language, in its canonical form.
func parseLanguage(name string) (language.Tag, error) {
	tag, err := language.Parse(name)
	if err != nil || tag == language.Und || tag.String() != name || len(name) > 35 {
		return language.Und, errors.New("is not named after a language, as en.yaml, fr.yaml or pt-BR.yaml would be")
	}
	return tag, nil
}
