package subject

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestNormalise(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxLocal)
	domain := strings.Repeat(strings.Repeat("d", maxLabel)+".", 3) + strings.Repeat("d", 61)
	tests := []struct{ name, in, want string }{
		{"in form", "somebody@example.com", "somebody@example.com"},
		{"upper case", "Some.Body@EXAMPLE.Com", "some.body@example.com"},
		{"blanks around", "  somebody@example.com ", "somebody@example.com"},
		{"plus tag", "some+News@example.com", "some+news@example.com"},
		{"dots stay", "s.o.m.e@gmail.com", "s.o.m.e@gmail.com"},
		{"dots in a row", "foo..bar.@example.jp", "foo..bar.@example.jp"},
		{"atext", "!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"},
		{"one label", "root@localhost", "root@localhost"},
		{"digits", "1@2.example", "1@2.example"},
		{"hyphens", "a@a-b--c.example", "a@a-b--c.example"},
		{"longest local part", long + "@example.com", long + "@example.com"},
		{"longest domain", "a@" + domain, "a@" + domain},
		{"domain in another script", "post@Bücher.example", "post@xn--bcher-kva.example"},
		{"its ASCII form", "post@XN--BCHER-KVA.example", "post@xn--bcher-kva.example"},
		{"decomposed domain", "post@Bu\u0308cher.example", "post@xn--bcher-kva.example"},
		{"sharp s is kept (IDNA 2008)", "a@straße.example", "a@xn--strae-oqa.example"},
		{"ideographic full stop", "a@例え。example", "a@xn--r8jz45g.example"},
		{"full-width domain", "a@ｅｘａｍｐｌｅ.com", "a@example.com"},
		{"decomposed local part", "Ju\u0308rgen@example.com", "jürgen@example.com"},
		{"upper-case local part beyond ASCII", "ΆΓΓΕΛΟΣ@example.com", "άγγελοσ@example.com"},
		{"sigma at the end", "άγγελος@example.com", "άγγελοσ@example.com"},
		{"long s", "\u017fam@example.com", "sam@example.com"},
		{"micro sign", "\u00b5@example.com", "\u03bc@example.com"},
		{"iota below a letter", "\u1fb3@example.com", "\u1fb3@example.com"},
		{"dotless i stays", "\u0131@example.com", "\u0131@example.com"},
		{"kelvin sign", "\u212a@example.com", "k@example.com"},
		{"dotted capital I", "\u0130@example.com", "i@example.com"},
		{"Chinese", "用户@例え.example", "用户@xn--r8jz45g.example"},
		{"emoji", "😀@example.com", "😀@example.com"},
	}
	for _, tt := range tests {
		got, err := Normalise(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestNormaliseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     *InvalidError
	}{
		{"nothing", "", errEmpty},
		{"blanks", "   ", errEmpty},
		{"too long", strings.Repeat("x", MaxAddress) + "@example.com", errLong},
		{"much too long", strings.Repeat("ü", 1<<20), errLong},
		{"not UTF-8", "secret\xff@example.com", errEncoding},
		{"no @", "secret.example.com", errNoAt},
		{"two @", "secret@secret@example.com", errTwoAt},
		{"two @ beyond ASCII", "sécret@secret@example.com", errTwoAt},
		{"nothing before", "@secret.example", errNoLocal},
		{"nothing after", "secret@", errNoDomain},
		{"long local part", strings.Repeat("s", maxLocal+1) + "@example.com", errLocalLong},
		{"local part long in bytes", strings.Repeat("ü", 33) + "@example.com", errLocalLong},
		{"display name", "Secret <secret@example.com>", errName},
		{"display name beyond ASCII", "Sécret <secret@example.com>", errName},
		{"angle brackets", "<secret@example.com>", errName},
		{"quoted", `"secret"@example.com`, errQuoted},
		{"quoted @", `"sec@ret"@example.com`, errQuoted},
		{"comment", "secret(comment)@example.com", errLocal},
		{"list", "secret,secret@example.com", errLocal},
		{"mailto", "mailto:secret@example.com", errLocal},
		{"backslash", `sec\ret@example.com`, errLocal},
		{"inner blank", "sec ret@example.com", errSpace},
		{"tab", "sec\tret@example.com", errSpace},
		{"line break", "secret@example.com\n", errSpace},
		{"carriage return", "\rsecret@example.com", errSpace},
		{"zero byte", "sec\x00ret@example.com", errSpace},
		{"delete", "sec\x7fret@example.com", errSpace},
		{"no-break space", "sec\u00a0ret@example.com", errSpace},
		{"zero-width space", "sec\u200bret@example.com", errSpace},
		{"right-to-left override", "sec\u202eret@example.com", errSpace},
		{"C1 control", "sec\u0085ret@example.com", errSpace},
		{"byte order mark", "\ufeffsecret@example.com", errSpace},
		{"address literal", "secret@[192.0.2.1]", errLiteral},
		{"blank in the domain", "secret@exam ple.com", errSpace},
		{"empty label", "secret@example..com", errDomain},
		{"leading dot", "secret@.example.com", errDomain},
		{"trailing dot", "secret@example.com.", errDomain},
		{"leading hyphen", "secret@-example.com", errDomain},
		{"trailing hyphen", "secret@example-.com", errDomain},
		{"underscore", "secret@ex_ample.com", errDomain},
		{"port", "secret@example.com:25", errDomain},
		{"long label", "secret@" + strings.Repeat("s", maxLabel+1) + ".com", errDomain},
		{"long domain", "secret@" + strings.Repeat("secret.", 36) + "ss", errDomain},
		{"bad Punycode", "secret@xn--secret-99999999.com", errDomain},
		{"Punycode of ASCII", "secret@xn--secret-.com", errDomain},
		{"domain too long in ASCII", "secret@" + strings.Repeat("ü", 60) + ".com", errDomain},
		{"symbol in the domain", "secret@\u2028.com", errDomain},
	}
	for _, tt := range tests {
		got, err := Normalise(tt.in)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || got != "" {
			t.Errorf("%s: %q, %v; want %v", tt.name, got, err, tt.want)
			continue
		}
		if invalid != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.want)
		}
		if strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%s: the error tells the address: %v", tt.name, err)
		}
	}
}

// checkNormalised holds what must be true of any normalised address.
func checkNormalised(t interface{ Fatalf(string, ...any) }, in, out string) {
	switch at := strings.IndexByte(out, '@'); {
	case !utf8.ValidString(out) || len(out) > MaxAddress:
		t.Fatalf("%q: not a short string of UTF-8: %q", in, out)
	case at < 1 || at != strings.LastIndexByte(out, '@') || at > maxLocal:
		t.Fatalf("%q: local part and @ in %q", in, out)
	case checkDomain(out[at+1:]) != nil:
		t.Fatalf("%q: domain of %q", in, out)
	case strings.ContainsAny(out, " \t\r\n\x00<>\"(),:;\\[]"):
		t.Fatalf("%q: character in %q", in, out)
	}
	if again, err := Normalise(out); err != nil || again != out {
		t.Fatalf("%q: %q normalises to %q, %v", in, out, again, err)
	}
}

// A person has one number however the address is spelled.
func TestSpellingsAreOnePerson(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		local := rapid.StringMatching(`[a-z0-9.+_-]{1,64}`).Draw(r, "local")
		domain := rapid.StringMatching(`[a-z0-9]{1,10}(\.[a-z0-9]{1,10}){0,3}`).Draw(r, "domain")
		want := local + "@" + domain
		for _, spelling := range []string{want, strings.ToUpper(want), " " + want, strings.ToUpper(local) + "@" + domain + "  "} {
			if got, err := Normalise(spelling); err != nil || got != want {
				r.Fatalf("%q is %q, %v; want %q", spelling, got, err, want)
			}
		}
		checkNormalised(r, want, want)
	})
}

// Nor however its letters are: all that are one but for their case are one here.
func TestCaseIsOne(t *testing.T) {
	t.Parallel()
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		mine, err := Normalise(string(r) + "@example.com")
		if err != nil || unicode.Is(unicode.M, r) {
			continue
		}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if got, err := Normalise(string(other) + "@example.com"); err == nil && got != mine && !unicode.Is(unicode.M, other) {
				t.Errorf("%U is %q and %U %q", r, mine, other, got)
			}
		}
		checkNormalised(t, string(r), mine)
	}
}

func TestNormaliseIsIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		in := rapid.String().Draw(r, "local") + "@" + rapid.String().Draw(r, "label") + ".example"
		if out, err := Normalise(in); err == nil {
			checkNormalised(r, in, out)
		}
	})
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{
		"somebody@example.com", "Ju\u0308rgen@Bücher.example", "post@xn--bcher-kva.example", "\u0130\u0323@例え。example",
		`"a@b"@c`, "a@[127.0.0.1]", "<a@b>", "a@b@c", "\u1e9b\u0323@ｅｘ.com", "a\u200d@b", "A@\u212a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := Normalise(in)
		var invalid *InvalidError
		switch {
		case err == nil:
			checkNormalised(t, in, out)
		case !errors.As(err, &invalid) || out != "":
			t.Fatalf("%q: %q, %v", in, out, err)
		}
	})
}

func BenchmarkNormalise(b *testing.B) {
	for name, address := range map[string]string{
		"in_form": "firstname.lastname@mail.example.com",
		"upper":   "Firstname.Lastname@mail.example.com",
		"idn":     "jürgen@bücher.example",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Normalise(address); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
