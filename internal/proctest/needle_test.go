package proctest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // somebody may have hashed with it
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"encoding/base64"
	bin "encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// needles are what went in and must not be found anywhere afterwards: words that are in nothing else, whole texts
// of which no hash without a key may be left either, and addresses of machines.
type needles struct {
	words  []string
	hashed []string
	hosts  []netip.Addr
}

// trace is a form in which a needle may have been kept.
type trace struct {
	of, form string
	b        []byte
	folded   bool // b is lower case, and found in any
	weak     bool // so short that chance makes it too
}

// hunt looks for needles in all their forms. It may be used concurrently.
type hunt struct{ traces []trace }

func newHunt(n needles) *hunt {
	h := &hunt{}
	for _, w := range n.words {
		h.text(w, w)
	}
	for _, s := range n.hashed {
		h.hashes(s, s)
		if lower := strings.ToLower(s); lower != s {
			h.hashes(s, lower)
		}
	}
	for _, a := range n.hosts {
		h.host(a)
	}
	return h
}

func (h *hunt) add(of, form string, b []byte) {
	h.traces = append(h.traces, trace{of: of, form: form, b: b})
}

func (h *hunt) addFolded(of, form, s string) {
	h.traces = append(h.traces, trace{of: of, form: form, b: []byte(strings.ToLower(s)), folded: true})
}

// text adds the forms of a text.
func (h *hunt) text(of, s string) {
	h.addFolded(of, "plain", s)
	for form, escaped := range map[string]string{"escaped as a query": url.QueryEscape(s), "escaped as a path": url.PathEscape(s), "escaped wholly": percent(s)} {
		if escaped != s {
			h.addFolded(of, form, escaped)
		}
	}
	variants := []string{s}
	if lower := strings.ToLower(s); lower != s {
		variants = append(variants, lower)
	}
	for _, v := range variants {
		h.addFolded(of, "hex", hex.EncodeToString([]byte(v)))
		for shift := range 3 {
			for alphabet, enc := range alphabets {
				h.add(of, fmt.Sprintf("base64 (%s, %d bytes before)", alphabet, shift), core64(enc, []byte(v), shift))
			}
		}
	}
}

var alphabets = map[string]*base64.Encoding{"standard": base64.RawStdEncoding, "of URLs": base64.RawURLEncoding}

// core64 is what of b's base64 does not depend on what is around it, where shift bytes more than a multiple of
// three come before it.
func core64(enc *base64.Encoding, b []byte, shift int) []byte {
	s := enc.EncodeToString(append(make([]byte, shift), b...))
	return []byte(s[(shift*8+5)/6 : (shift+len(b))*8/6])
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// hashes adds what a hash without a key makes of a text: such a one names its person as well.
func (h *hunt) hashes(of, s string) {
	m, one, two := md5.Sum([]byte(s)), sha1.Sum([]byte(s)), sha256.Sum256([]byte(s)) //nolint:gosec // to be found
	for name, sum := range map[string][]byte{"MD5": m[:], "SHA-1": one[:], "SHA-256": two[:]} {
		h.add(of, name, sum)
		h.addFolded(of, name+" in hex", hex.EncodeToString(sum))
		for alphabet, enc := range alphabets {
			h.add(of, name+" in base64 "+alphabet, core64(enc, sum, 0))
		}
	}
}

// host adds the forms of a machine's address.
func (h *hunt) host(a netip.Addr) {
	of := a.String()
	h.text(of, of)
	h.hashes(of, of)
	raw := a.AsSlice()
	h.hashes(of, string(raw))
	back := slices.Clone(raw)
	slices.Reverse(back)
	from := len(h.traces)
	for order, b := range map[string][]byte{"big endian": raw, "little endian": back} {
		h.add(of, "bytes, "+order, b)
		h.addFolded(of, "hex, "+order, hex.EncodeToString(b))
	}
	if a.Is4() {
		for _, n := range []uint32{bin.BigEndian.Uint32(raw), bin.LittleEndian.Uint32(raw)} {
			h.add(of, "number", strconv.AppendUint(nil, uint64(n), 10))
		}
		for i := range h.traces[from:] {
			h.traces[from+i].weak = true
		}
		return
	}
	h.addFolded(of, "written out", a.StringExpanded())
	h.add(of, "network, bytes", raw[:8])
	h.addFolded(of, "network, hex", hex.EncodeToString(raw[:8]))
}

// search returns what is found in a content, one line for each needle and form. Of the short forms of an address
// one alone is no find in much content: chance makes each once in 4 GiB. So all of what goes in comes from several
// addresses, and as many of them must be there in one form as makes chance less than one in a million.
func (h *hunt) search(content []byte) (found []string) {
	lower := lowered(content)
	weak := map[string][]string{} // what was found, by the form
	for i := range h.traces {
		t := &h.traces[i]
		in := content
		if t.folded {
			in = lower
		}
		at := bytes.Index(in, t.b)
		switch {
		case at < 0:
		case t.weak:
			weak[t.form] = append(weak[t.form], t.of)
		default:
			around := content[max(0, at-40):min(len(content), at+len(t.b)+40)]
			found = append(found, fmt.Sprintf("%q, %s: ...%q...", t.of, t.form, around))
		}
	}
	for form, of := range weak {
		slices.Sort(of)
		of = slices.Compact(of) // a form may have two ways
		if chance(len(content), len(of)) < 1e-6 {
			found = append(found, fmt.Sprintf("%v, %s", of, form))
		}
	}
	slices.Sort(found)
	return found
}

// lowered is lower case in ASCII alone: byte for byte, whatever the content is.
func lowered(b []byte) []byte {
	b = bytes.Clone(b)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return b
}

// chance is about how likely it is that so many of ten forms of four bytes are in random content of a size.
func chance(size, forms int) float64 {
	each, p := min(1, float64(size)/(1<<32)), 1.0
	for i := range forms {
		p *= each * float64(10-i) / float64(i+1)
	}
	return p
}

// TestHunt puts every form of needles into other content, and finds each.
func TestHunt(t *testing.T) {
	t.Parallel()
	hosts := []netip.Addr{netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("198.51.100.213"), netip.MustParseAddr("2001:db8:7:8:9:a:b:c")}
	h := newHunt(needles{words: []string{"Zaphod.Quux", "wibble?"}, hashed: []string{"Zaphod.Quux@example.com"}, hosts: hosts})
	around := func(s string) []byte { return []byte("something " + s + " else, and more") }
	if found := h.search(around("zaphod, quux, 203.0.113.7, 198.51.100.21, 2001:db8:7:9::1")); len(found) > 0 {
		t.Errorf("found %v in what holds nothing", found)
	}
	sum := sha256.Sum256([]byte("zaphod.quux@example.com"))
	for name, s := range map[string]string{
		"plain": "xZaphod.Quux@", "lower case": "zaphod.quux", "upper case": "ZAPHOD.QUUX", "query": "wibble%3F", "path": "Wibble%3f", "every byte": percent("Zaphod.Quux"),
		"base64": base64.StdEncoding.EncodeToString([]byte("Zaphod.Quux")), "base64, one before": base64.URLEncoding.EncodeToString([]byte("<zaphod.quux@example.com>")),
		"base64, two before": base64.StdEncoding.EncodeToString([]byte(`{"Zaphod.Quux"`)), "hex": hex.EncodeToString([]byte("a zaphod.quux")), "HEX": strings.ToUpper(hex.EncodeToString([]byte("Zaphod.Quux"))),
		"hash": string(sum[:]), "hash in hex": hex.EncodeToString(sum[:]), "hash in base64": base64.StdEncoding.EncodeToString(sum[:]),
		"address": "203.0.113.77:4711", "address, mapped": "::ffff:198.51.100.213", "four bytes": "\xcb\x00\x71\x4d", "turned": "\x4d\x71\x00\xcb", "four bytes in hex": "CB00714D",
		"number": strconv.Itoa(0xcb00714d), "number, turned": strconv.Itoa(0x4d7100cb), "address of six": "[2001:DB8:7:8:9:a:b:c]", "written out": "2001:0db8:0007:0008:0009:000a:000b:000c",
		"its bytes": string(hosts[2].AsSlice()), "its network": string(hosts[2].AsSlice()[:8]),
	} {
		if len(h.search(around(s))) == 0 {
			t.Errorf("%s: %q was not found", name, s)
		}
	}
	// In much content one address's bytes are chance, and several are not.
	much := make([]byte, 1<<20)
	copy(much[1000:], "\xcb\x00\x71\x4d")
	if found := h.search(much); len(found) > 0 {
		t.Errorf("found %v, which is chance", found)
	}
	more := newHunt(needles{hosts: fourOf})
	for i, a := range fourOf {
		copy(much[5000*i:], a.AsSlice())
	}
	if found := more.search(much); len(found) != 1 {
		t.Errorf("found %v, want all four addresses", found)
	}
}

// fourOf are as many addresses as everything is to come from.
var fourOf = []netip.Addr{
	netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("198.51.100.213"), netip.MustParseAddr("192.0.2.149"), netip.MustParseAddr("100.83.197.219"),
}
