package preferences

import (
	"bytes"
	"strings"
	"testing"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/token"
)

func TestFormsThatAreNotThePages(t *testing.T) {
	t.Parallel()
	unknownType, unknownBody := multipartBody(t, "opens", "refused", "name", "x")
	twiceType, twiceBody := multipartBody(t, "opens", "refused", "opens", "refused")
	longType, longBody := multipartBody(t, "opens", strings.Repeat("x", 70))
	manyType, manyBody := multipartBody(t, strings.Split(strings.Repeat("opens|x|", 50)+"opens|x", "|")...)
	mixedType, mixedBody := multipartBody(t, "List-Unsubscribe", "One-Click", "opens", "granted")
	fileBody := "--b\r\nContent-Disposition: form-data; name=\"opens\"; filename=\"f\"\r\n\r\nrefused\r\n--b--\r\n"
	onePart := "--b\r\nContent-Disposition: form-data; name=\"opens\"\r\n\r\ngranted\r\n--b"
	for name, form := range map[string][2]string{
		"unknown field":                     {urlencoded, "opens=refused&minor=yes"},
		"unknown value":                     {urlencoded, "opens=maybe"},
		"unknown format":                    {urlencoded, "format=amp"},
		"unknown mail":                      {urlencoded, "mail=never"},
		"shown, cut off":                    {urlencoded, "opens=refused&shown=granted"},
		"shown, unknown":                    {urlencoded, "opens=refused&shown=granted+maybe+html"},
		"field twice":                       {urlencoded, "opens=refused&opens=granted"},
		"bad escape":                        {urlencoded, "opens=%zz"},
		"bad escape of name":                {urlencoded, "%zz=refused"},
		"one click and more":                {urlencoded, "List-Unsubscribe=One-Click&opens=granted"},
		"more and one click":                {urlencoded, "opens=granted&List-Unsubscribe=One-Click"},
		"one click, other value":            {urlencoded, "List-Unsubscribe=Two-Click"},
		"no type":                           {"", "opens=refused"},
		"bad type":                          {"/;;", "opens=refused"},
		"JSON":                              {"application/json", `{"opens":"refused"}`},
		"multipart, no boundary":            {"multipart/form-data", "x"},
		"multipart, cut":                    {"multipart/form-data; boundary=b", "--b\r\nContent-Disp"},
		"multipart, cut behind a part":      {"multipart/form-data; boundary=b", onePart},
		"multipart, cut before a part":      {"multipart/form-data; boundary=b", onePart + "\r\n"},
		"multipart, cut in a part's header": {"multipart/form-data; boundary=b", onePart + "\r\nContent-Disposition: form-da"},
		"multipart, empty":                  {"multipart/form-data; boundary=b", ""},
		"multipart, another boundary":       {"multipart/form-data; boundary=c", onePart + "--\r\n"},
		"multipart, unknown":                {unknownType, unknownBody},
		"multipart, twice":                  {twiceType, twiceBody},
		"multipart, long value":             {longType, longBody},
		"multipart, many":                   {manyType, manyBody},
		"multipart, mixed":                  {mixedType, mixedBody},
		"multipart, file":                   {"multipart/form-data; boundary=b", fileBody},
		"many fields":                       {urlencoded, strings.Repeat("a=b&", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, consent.BasisSubject)
			ctx := s.post(t, form[0], form[1])
			if ctx.Response.StatusCode() != 400 || !bytes.Contains(ctx.Response.Body(), []byte("nothing was changed")) {
				t.Errorf("answered %d: %.200s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
			if bytes.Contains(ctx.Response.Body(), []byte("minor")) || bytes.Contains(ctx.Response.Body(), []byte("maybe")) {
				t.Error("the answer repeats what was sent")
			}
			if n := s.entries(t); n != 0 {
				t.Errorf("%d entries were written", n)
			}
		})
	}
}

func FuzzParseForm(f *testing.F) {
	formType, formBody := multipartBody(f, "opens", "refused", "mail", "unsubscribed")
	f.Add(urlencoded, "opens=refused&clicks=granted")
	f.Add(urlencoded, "List-Unsubscribe=One-Click")
	f.Add(formType, formBody)
	f.Add("", "List-Unsubscribe=One-Click ")
	f.Add(urlencoded, "shown=granted+unset+html&opens=granted")
	f.Add("multipart/form-data; boundary=b", "--b\r\n\r\n--b--")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		got, err := parseForm([]byte(contentType), []byte(body))
		got = got.since(consent.Choice{})
		if err != nil || got.empty() {
			return
		}
		change := got.change(token.Claims{Subject: 9}, "v")
		if err := change.Check(); err != nil {
			t.Fatalf("%q %q: the form passed and the change does not: %v", contentType, body, err)
		}
		if got.oneClick && (got != form{oneClick: true}) {
			t.Fatalf("%q: one click and more: %+v", body, got)
		}
	})
}
