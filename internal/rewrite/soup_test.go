package rewrite

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// scraps are what documents are made of, whole and broken.
var scraps = []string{
	`<a href="https://e.org/1">`, `<a href='https://e.org/2'>`, `<a href=https://e.org/3>`, `<a href=https://e.org/4/>`, `<A HREF = "HTTP://E.ORG/5?a=1&amp;b=2&copy=3">`, `<a href="{{x}}">`, "<a href=\x01https://e.org/11\x02>", "<a href='\x01https://e.org/12 \x02'>",
	`<a x='>' href="https://e.org/6" href=y>`, "<a\nhref=\" https://e.org/7\n\"/>", `<area href=https://e.org/8>`, `<a href="https://e.org/9" data-mailbeacon=off>`, `</a>`, "x", " ", "\n", "&amp;", "<", ">",
	`"`, `'`, "=", "/", "--", "!", "-->", "<!--", "<!-->", "--!>", "<!doctype html>", "<!x>", "<?x>", "</>", "</ x>", "<!--[if mso]>", "<![endif]-->", "<!--[if !mso]><!-->", "<!--<![endif]-->",
	"<![if !mso]>", "<![endif]>", "<![CDATA[", "]]>", "<html>", "</html>", "<head>", "</head>", "<body>", `<body class='x'>`, "</body>", "<title>", "</title>", "<title/>", "<style>", "</style>",
	"<textarea>", "</textarea>", "<xmp>", "</xmp>", "<iframe>", "</iframe>", "<noframes>", "</noframes>", "<noscript>", "</noscript>", "<template>", "</template>", "<select>", "</select>", "<option>",
	"<table>", "</table>", "<tr>", "<td>", "</td>", "<caption>", "<p>", "</p>", "<div>", "</div>", "<div data-mailbeacon=off>", "<b>", "</b>", "<ul>", "<li>", "</ul>", "<br>", "</br>", "<img>", "<meta>",
	"<base>", "<svg>", "</svg>", "<g>", "<desc>", "</desc>", "<foreignObject>", "</foreignObject>", "<math>", "</math>", "<mi>", "</mi>", "<svg/>", "<x:y>", "</x:y>", "<form>", "<button>", "</button>",
	"<object>", "</object>", "<v:rect href='https://e.org/10'>", "</v:rect>", "<plaintext>",
}

// TestSoup makes documents of scraps, which come closer to trouble than single bytes do.
func TestSoup(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := strings.Join(rapid.SliceOfN(rapid.SampledFrom(scraps), 1, 14).Draw(t, "scraps"), "")
		checkHTML(t, []byte(src))
	})
}

// mailScraps are the same for mails.
var mailScraps = []string{
	"Content-Type: multipart/mixed; boundary=b\n", "Content-Type: multipart/alternative;\n boundary=\"bb\"\n", "Content-Type: multipart/related; boundary=b; start=<1>\n",
	"Content-Type: multipart/digest; boundary=b \n", "Content-Type: multipart/mixed\n", "Content-Type: text/html\n", "Content-Type: text/html; charset=utf-16le\n", "Content-Type: text/plain\n",
	"Content-Type: text/html; charset=iso-2022-jp\n", "Content-Type: message/rfc822\n", "Content-Transfer-Encoding: quoted-printable\n", "Content-Transfer-Encoding: base64\n",
	"Content-Length: 60\n", "Content-ID: <1>\n", "Content-Disposition: attachment\n", "x", " ", ":", "\n", "\r\n", "\n\n", "\r\n\r\n", "--b\n", "--b\r\n", "--bb\n", "--b--\n", "--bb--\n", "--b", "\n--b\n", "=", "=\n",
	"=3D", "<a href=3D\"https://e.org/=\n1\">", `<a href="https://e.org/2">`, "<body>", "https://e.org/3", "PGEgaHJlZj1odHRwczovL2Uub3JnLz4=\n", "PGEg", "\x1b$B<\x1b(B", "<\x00a\x00 \x00", "\t\n",
}

func TestMailSoup(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOfN(rapid.SampledFrom(mailScraps[:14]), 1, 3).Draw(t, "header")
		scraps := rapid.SliceOfN(rapid.SampledFrom(mailScraps), 1, 24).Draw(t, "scraps")
		checkMail(t, []byte(strings.Join(header, "")+"\n"+strings.Join(scraps, "")))
	})
}

// TestTruncated cuts the corpus short everywhere: each answer is in order.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for _, s := range corpus(t, ".html") {
		for n := 0; n < len(s.data); n += 11 {
			checkHTML(t, s.data[:n])
		}
	}
	for _, s := range corpus(t, ".eml") {
		for n := 0; n < len(s.data); n += 11 {
			checkMail(t, s.data[:n])
		}
	}
}
