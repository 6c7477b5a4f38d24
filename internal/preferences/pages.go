package preferences

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/language"
)

// Pages are the page, and that for addresses that lead nowhere, in every language that there is. What they
// hold never changes; they may be used concurrently.
type Pages struct {
	all     []*page // the first is for people who read none of the languages
	matcher language.Matcher
	chosen  [chosenPlaces]atomic.Pointer[choice] // what was chosen last, by the header's hash
	seed    maphash.Seed
}

// choice is the page for a header: nearly all readers send one of a few, and to read it anew takes memory.
type choice struct {
	accept string
	page   *page
}

const chosenPlaces = 256

const (
	templateFile = "page.html"
	lostFile     = "not-found.html"
	textsEnding  = ".yaml"
	mostFile     = 256 << 10 // bytes of a template or of texts
	mostLogo     = 48 << 10  // bytes; every answer carries it
)

// logoTypes are the pictures that every browser knows.
var logoTypes = map[string]string{
	"logo.svg": "image/svg+xml", "logo.png": "image/png", "logo.jpg": "image/jpeg", "logo.jpeg": "image/jpeg", "logo.gif": "image/gif", "logo.webp": "image/webp",
}

// LoadPages returns the pages that come with the program, changed by what a folder holds: page.html is
// the template, not-found.html that of the page for addresses that lead nowhere, LANGUAGE.yaml has texts that differ, or all of them in a language that the program does
// not have, and logo.svg (.png, .jpg, .gif, .webp) is shown on top. No folder is an empty name. The error
// names the file that can't be used, and why. What starts with a dot is passed over.
func LoadPages(folder string) (*Pages, error) {
	c := custom{template: source, lost: lostSource}
	for _, lang := range builtinLanguages {
		t, err := textsOf(lang)
		if err != nil {
			return nil, fmt.Errorf("preference page in %s: %w", lang, err)
		}
		c.texts = append(c.texts, t)
	}
	if folder != "" {
		if err := c.readFolder(folder); err != nil {
			return nil, err
		}
	}
	p := &Pages{seed: maphash.MakeSeed()}
	var tags []language.Tag
	for i := range c.texts {
		t := c.texts[i]
		built, err := newPage(t, c.template, c.logo)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", templateFile, t.Lang, err)
		}
		if built.lost, err = newLost(t, c.lost, c.logo); err != nil {
			return nil, fmt.Errorf("%s in %s: %w", lostFile, t.Lang, err)
		}
		p.all = append(p.all, built)
		tags = append(tags, language.MustParse(t.Lang))
	}
	p.matcher = language.NewMatcher(tags)
	return p, nil
}

// builtinPages are made once; they never change.
var builtinPages = sync.OnceValues(func() (*Pages, error) { return LoadPages("") })

// custom is what the pages are made of.
type custom struct {
	template string
	lost     string // template
	texts    []texts
	logo     template.URL
}

func (c *custom) readFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("read the preference page's folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := c.readFile(folder, e.Name()); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(folder, e.Name()), err)
		}
	}
	return nil
}

func (c *custom) readFile(folder, name string) error {
	lang, isTexts := strings.CutSuffix(name, textsEnding)
	picture, isLogo := logoTypes[name]
	most := int64(mostFile)
	switch {
	case isLogo:
		most = mostLogo
	case !isTexts && name != templateFile && name != lostFile:
		return fmt.Errorf("is not known; right would be %s, %s, LANGUAGE%s, or logo.svg, .png, .jpg, .gif or .webp", templateFile, lostFile, textsEnding)
	}
	content, err := readUpTo(filepath.Join(folder, name), most)
	switch {
	case err != nil:
		return err
	case isTexts:
		return c.addTexts(lang, content)
	case name == lostFile:
		c.lost = string(content)
	case !isLogo:
		c.template = string(content)
	case c.logo != "":
		return errors.New("is a second logo")
	default:
		// The type comes from the table above, and base64 needs no escaping.
		c.logo = template.URL("data:" + picture + ";base64," + base64.StdEncoding.EncodeToString(content)) //nolint:gosec // see above
	}
	return nil
}

func readUpTo(path string, most int64) ([]byte, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("is not a file")
	case st.Size() == 0 || st.Size() > most:
		return nil, fmt.Errorf("has %d bytes; right would be 1 to %d", st.Size(), most)
	}
	return os.ReadFile(path)
}

// addTexts takes over words, in place of those of the same language.
func (c *custom) addTexts(name string, content []byte) error {
	if _, err := parseLanguage(name); err != nil {
		return err
	}
	t, err := textsOf(name)
	if err != nil {
		return err
	}
	if err := t.read(content); err != nil {
		return err
	}
	if i := slices.IndexFunc(c.texts, func(known texts) bool { return known.Lang == name }); i >= 0 {
		c.texts[i] = t
	} else {
		c.texts = append(c.texts, t)
	}
	return nil
}

const mostAccept = 256 // bytes of Accept-Language that are looked at

// choose picks the page for a reader by Accept-Language (RFC 9110, section 12.5.4): the language of
// the greatest weight that there is, or its nearest relative. Where the header says nothing that can
// be understood, it is the first page.
func (p *Pages) choose(accept []byte) *page {
	if len(accept) > mostAccept {
		accept = accept[:mostAccept]
		accept = accept[:max(0, bytes.LastIndexByte(accept, ','))]
	}
	place := &p.chosen[maphash.Bytes(p.seed, accept)%chosenPlaces]
	if last := place.Load(); last != nil && last.accept == string(accept) {
		return last.page
	}
	now := &choice{string(accept), p.match(accept)}
	place.Store(now)
	return now.page
}

func (p *Pages) match(accept []byte) *page {
	wanted, _, err := language.ParseAcceptLanguage(string(accept))
	if err != nil || len(wanted) == 0 {
		return p.all[0]
	}
	_, i, sure := p.matcher.Match(wanted...)
	if sure == language.No {
		return p.all[0]
	}
	return p.all[i]
}
