package rewrite

import (
	"strings"
	"testing"
	"time"
)

// costs are the ways in which a hostile text can come in.
var costs = []struct {
	name, before string
	do           func(dst, src []byte, o Options) ([]byte, Result, error)
}{
	{"HTML", "", HTML},
	{"Text", "", Text},
	{"multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b\n", Message},
	{"header", "Content-Type: multipart/mixed; ", Message},
	{"7bit", "Content-Type: text/html\n\n", Message},
	{"quoted-printable", "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n", Message},
	{"utf-16", "Content-Type: text/html; charset=utf-16le\n\n", Message},
}

// TestLinearTime: nothing an attacker sends takes longer than its length warrants. Eight times the
// text may take 24 times as long, where the square would be 64.
func TestLinearTime(t *testing.T) {
	for _, cost := range costs {
		for _, unit := range []string{
			"<", "<!--", "<a href=", `<a href="`, `<a href='x" y`, "<!--[if mso]>", "<!--[if a]><![endif]-->", "<![if", "</", "<title>", "</title", "<title></titl", "<script>", "<script><!--",
			"--", "<!---", "<!-- --", "<!-- --!", "<?", "<a ", "<a a=1 b='2'", " a", "\"", "'", "<p>", "<div>", "</div>", "<div></x>", "<td>", "<table>", "<table><td>", "<li>", "<a href=x>",
			"<a href=https://e.org>", "<a href=https://e.org>\n", "<b><p>", "<svg>", "<svg><p>", "<x-y>", "</x-y>", "<div><td><span>", "&amp;", "&", "<a href=https://e.org/&amp;>",
			"<base href=https://e.org>", "<body>", "<template>", "<noscript>", "<![CDATA[", "<svg><![CDATA[", "\x00", "\xff", "=", "=\n", "=3D", "\n", " ", "\t=", "--b\n", "\n--bb",
			"--b\nContent-Type: multipart/mixed; boundary=b\n\n", "https://", "https://e.org/ ", "https://.", "{{", "https://e.org/{{", "[a", "%a", "$a@A~a.", "<a href=https://e.org/[a>", "(", "https://e.org/(((", "x:y\n", "Content-Type: text/html\n",
			" (", "a=\"", ";", "a*=b;", "\x1b$B<", "<!--[if a]><a href=https://e.org><![endif]-->", "<a href=https://e.org><!--[if a]><a href=https://e.org><![endif]--></a>",
		} {
			checkLinear(t, cost.name+" of "+unit, func(n int) time.Duration {
				return timed(cost.do, cost.before+strings.Repeat(unit, n/len(unit)))
			})
		}
	}
}

// What comes once and is long, before what comes often and is short. More of it, since what finds the
// end of a line is quick.
func TestLinearTimeOfTwo(t *testing.T) {
	const qp = "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n"
	for _, tt := range []struct{ before, long, between, often, behind string }{
		{"<base href=https://e.org/", "x", ">", "<a href=?q>", ""},
		{"<p " + strings.Repeat("<b>", 400), "<i>", "", "<div></p>", ""},
		{qp, "x", "", "<a href=https://e.org>", ""},
		{"X: ", "x", "\nContent-Type: multipart/mixed; boundary=b\n\n", "--b\nContent-Type: text/html\n\n<p>", ""},
		{"Content-Type: multipart/mixed; boundary=\"", "b", "\"\n\n", "--bbbbbbbb\n", ""},
		{"<a href='https://e.org/", "&a", "'>", "<a href=https://e.org>", ""},
		{"Content-Type: text/html\n\n", "<a href=https://e.org>", "", "<a href=https://e.org>", ""},
		{qp, "=20", "", "<a href=https://e.org>", " \t"},
	} {
		name := tt.before + " " + tt.long + tt.between + " " + tt.often
		f := HTML
		if strings.Contains(tt.before+tt.between, "\n\n") {
			f = Message
		}
		checkLinear(t, name, func(n int) time.Duration {
			many := func(s string) string { return strings.Repeat(s, 2*n/max(1, len(s))) }
			return timed(f, tt.before+many(tt.long)+tt.between+many(tt.often)+many(tt.behind))
		})
	}
}

// checkLinear takes the time of 64 KB and 512 KB, or of what took makes of them. Others use the machine too: only what is too slow
// each time is slow, and what is quick at any size needs no proportion.
func checkLinear(t *testing.T, name string, took func(n int) time.Duration) {
	t.Helper()
	const quick, endless = 60 * time.Millisecond, 3 * time.Second
	var small, large time.Duration
	for range 4 {
		if small = took(64 << 10); small > endless {
			break // 512 KB would take minutes
		}
		if large = took(512 << 10); large < quick || large < 24*small {
			return
		}
	}
	t.Errorf("%.80q: %v became %v with eight times the text", name, small, large)
}

func timed(f func(dst, src []byte, o Options) ([]byte, Result, error), src string) time.Duration {
	in := []byte(src)
	start := time.Now()
	_, _, _ = f(nil, in, everything) // limits are an answer too
	return time.Since(start)
}
