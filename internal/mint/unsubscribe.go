package mint

import (
	"html"
	"slices"
	"strings"

	"mailbeacon/internal/rewrite"
)

// maxMailto bounds a mailto address that is kept beside ours: longer ones do not fit a header's line.
const maxMailto = 900

// ways are the ways out of the list that a whole mail brought along in its List-Unsubscribe.
type ways struct {
	mailto []string
	web    map[string]bool // http and https, as canonical has them
}

// readWays reads them. Of our own address, in a mail that was made before, nothing is kept.
func (j *letter) readWays(eml []byte) ways {
	w := ways{web: map[string]bool{}}
	for _, uri := range rewrite.ListURIs(eml, ListUnsubscribe) {
		scheme, _, _ := strings.Cut(uri, ":")
		switch strings.ToLower(scheme) {
		case "mailto":
			if len(uri) <= maxMailto && !strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' }) {
				w.mailto = append(w.mailto, uri)
			}
		case "http", "https":
			if !j.ours(uri) {
				for _, u := range decodings(uri) {
					w.web[canonical(u)] = true
				}
			}
		}
	}
	return w
}

// leads says whether an address is one of the mail's own ways out. Such an address is personal most
// of the time and must work without us: it is neither counted nor registered.
func (w *ways) leads(url string) bool {
	return len(w.web) > 0 && slices.ContainsFunc(decodings(url), func(u string) bool { return w.web[canonical(u)] })
}

// decodings are an address and what it is with its character references decoded, again and again
// where a program encoded them more than once. Any of them may be what was meant.
func decodings(url string) []string {
	all := []string{url}
	for range 3 {
		decoded := html.UnescapeString(url)
		if decoded == url {
			break
		}
		url = decoded
		all = append(all, url)
	}
	return all
}

// canonical makes what leads to the same place the same text: scheme, case of the host,
// percent-encoding and fragment do not count. It is no URL any more.
func canonical(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, tail := strings.ToLower(rest[:end]), rest[end:]
	if !strings.HasPrefix(tail, "/") {
		tail = "/" + tail
	}
	return host + decode(tail)
}

// header is the value of List-Unsubscribe: our address, which List-Unsubscribe-Post is about and
// which therefore is the only one of the web (RFC 8058), and the mail's own addresses to write to.
func (w *ways) header(unsubscribe string) string {
	var b strings.Builder
	b.WriteString("<" + unsubscribe + ">")
	for _, uri := range w.mailto {
		b.WriteString(", <" + uri + ">")
	}
	return b.String()
}
