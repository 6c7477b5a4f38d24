package campaign

import (
	"errors"
	"strings"
	"testing"
)

// refused checks that err is nil, or an InvalidError of the field.
func refused(t *testing.T, what string, err error, field string) {
	t.Helper()
	var invalid *InvalidError
	switch {
	case field == "" && err != nil:
		t.Errorf("%s was refused: %v", what, err)
	case field != "" && (!errors.As(err, &invalid) || invalid.Field != field):
		t.Errorf("%s: %v, want an InvalidError of %q", what, err, field)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	pad := func(n int) string { return "http://x.example/" + strings.Repeat("a", n-len("http://x.example/")) }
	for _, url := range []string{
		"http://example.com", "https://example.com/", "HTTPS://EXAMPLE.COM/Path?Q=1#frag", "https://example.com?q", "https://example.com#f",
		"http://localhost", "http://a", "http://1.2.3.4:8080/x", "http://example.com:/", "http://example.com:65535", "http://example.com./x",
		"http://[::1]/", "http://[2001:db8::1]:8443/x", "https://[::ffff:1.2.3.4]",
		"https://müller.example/straße?q=ü", "https://日本語.jp", "https://xn--mller-kva.example/", "https://a_b.example.com", "https://r3---sn-abc.example.com/v",
		"https://example.com/100%", "https://example.com/%zz?a=%", "https://example.com/a@b", "https://example.com/?to=a@b", "https://example.com/a\\b",
		"https://example.com/?u=http://other.example/", "https://example.com//double", "https://example.com/'\"<>`{}|^", "https://example.com/?a=1&amp;b=2",
		"https://example.com/?discount=50%%", pad(MaxURL),
	} {
		refused(t, url, CheckURL(url), "")
	}
	for _, url := range []string{
		"", "example.com", "/path", "//example.com/x", "http:", "http:/", "http://", "http:///x", "http:example.com", "http:/example.com", "https://?q", "https://#f", "https://:80/",
		"javascript:alert(1)", "JavaScript://example.com/%0aalert(1)", "data:text/html,x", "mailto:a@b.example", "tel:1", "ftp://example.com", "file:///etc/passwd", "cid:1", "#", "vbscript:x", "httpx://example.com", "blob:http://example.com/x",
		"http://user@example.com", "http://user:pass@example.com", "http://@example.com", "http://example.com\\@evil.example/", "http:\\\\example.com", "http://\\example.com", "http://example.com\\x",
		" http://example.com", "http://example.com ", "http://exa mple.com", "http://example.com/a b", "http://example.com/\n", "http://example.com/\r\nSet-Cookie:x", "http://example.com/\t", "http://example.com/\x00", "http://example.com/\x7f", "http://example.com/\u0085", "http://example.com/\u00a0", "http://example.com/\u2028", "java\nscript:x",
		"http://example.com:x", "http://example.com:0/", "http://example.com:65536", "http://example.com:-1", "http://example.com:+1", "http://example.com:80:80", "http://::1/",
		"http://[", "http://[]", "http://[::1", "http://[::1]x", "http://[::1]:x", "http://[1.2.3.4]", "http://[fe80::1%25eth0]/", "http://[v1.x]/", "http://::1]/", "http://a[::1]/",
		"http://.", "http://..", "http://a..b", "http://.a", "http://a%2eb/", "http://%65xample.com", "http://a,b/", "http://a\"b/", "http://<a>/", "http://a|b", "http://${a}/", "http://a{b}/",
		"http://" + strings.Repeat("a", 64) + ".example", "http://" + strings.Repeat("abc.", 64) + "example",
		"https://\u0301a.example", "http://\xff.example/", "http://example.com/\xff",
		"https://example.com/{{id}}", "{{url}}", "https://{{host}}/x", "https://example.com/*|ID|*", "*|URL|*", "https://example.com/%%id%%", "%%url%%",
		pad(MaxURL + 1),
	} {
		refused(t, url, CheckURL(url), "url")
	}
}

// TestErrorsDoNotQuote: what somebody sent may be an address.
func TestErrorsDoNotQuote(t *testing.T) {
	t.Parallel()
	const value = "someone@example.com"
	for _, err := range []error{
		CheckName(value), CheckURL("http://" + value), CheckURL("mailto:" + value),
		checkText("title", value+"\n", 99), checkAdvertiser(value + "/"), (&Delivery{ID: value}).check(),
	} {
		if err == nil || strings.Contains(err.Error(), "someone") {
			t.Errorf("%v", err)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "7", "spring-2026", "a.b_c-d", "0", strings.Repeat("a", MaxName)} {
		refused(t, name, CheckName(name), "")
	}
	for _, name := range []string{"", "A", ".", "..", ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "a@b", "\xff", "\x00", strings.Repeat("a", MaxName+1)} {
		refused(t, name, CheckName(name), "name")
	}
}

func TestCheckTexts(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "Spring sale", "Größe & <b>", "עברית", strings.Repeat("ü", MaxTitle/2)} {
		refused(t, s, checkText("title", s, MaxTitle), "")
	}
	for _, s := range []string{"a\nb", "a\tb", "\x1b[31m", "\x7f", "\u0085", "\u2028", "\xff", strings.Repeat("ü", MaxTitle/2) + "x"} {
		refused(t, s, checkText("title", s, MaxTitle), "title")
	}
	for _, s := range []string{"", "Acme", "Müller & Söhne, Co.", "a.b", "..."} {
		refused(t, s, checkAdvertiser(s), "")
	}
	for _, s := range []string{" Acme", "Acme ", "a/b", ".", "..", "a\n", "\u00a0x", strings.Repeat("a", MaxAdvertiser+1)} {
		refused(t, s, checkAdvertiser(s), "advertiser")
	}
}

func TestCheckDelivery(t *testing.T) {
	t.Parallel()
	for _, d := range []Delivery{{ID: "a"}, {ID: "batch/7?x", Delivered: MaxCount, Bounced: MaxCount}, {ID: strings.Repeat("a", MaxDelivery)}} {
		refused(t, d.ID, d.check(), "")
	}
	for field, ds := range map[string][]Delivery{
		"id":        {{}, {ID: "a b"}, {ID: "a@b"}, {ID: "ü"}, {ID: "\n"}, {ID: "\x7f"}, {ID: strings.Repeat("a", MaxDelivery+1)}},
		"delivered": {{ID: "a", Delivered: MaxCount + 1}},
		"bounced":   {{ID: "a", Bounced: MaxCount + 1}},
	} {
		for _, d := range ds {
			refused(t, d.ID, d.check(), field)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://example.com/", "https://[::1]:80/x", "http://a\\b", "http://münchen.de", "http://[", "http://user@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckURL(s) == nil && !safe(s) {
			t.Errorf("%q was taken and can't be redirected to", s)
		}
	})
}
