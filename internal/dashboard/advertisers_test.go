package dashboard

import (
	"strings"
	"testing"
)

// TestAdvertiserSeesItsOwn: who signs in as an advertiser is led to that one's report, sees no other, and is not told whether there is one.
func TestAdvertiserSeesItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.viewer = Viewer{Name: "alder-key", Role: "advertiser", Advertiser: "Alder/1", CSRF: "token"}
	if a := w.get(t, "/"); a.Code != 303 || a.Header().Get("Location") != "/advertisers/Alder%2F1" {
		t.Errorf("home: %d to %s", a.Code, a.Header().Get("Location"))
	}
	if a := w.get(t, "/advertisers/Alder%2F1"); a.Code != 200 || !strings.Contains(a.Body.String(), "125") || strings.Contains(a.Body.String(), "/campaigns") {
		t.Errorf("its own: %d\n%s", a.Code, a.Body)
	}
	var answers []string
	for _, other := range []string{"/advertisers/%3Cb%3EBirch%20&%20Co", "/advertisers/nobody", "/advertisers/alder%2F1", "/advertisers/Alder%2F1%20"} {
		a := w.get(t, other)
		if a.Code != 403 {
			t.Errorf("%s: %d", other, a.Code)
		}
		answers = append(answers, a.Body.String())
	}
	for _, a := range answers[1:] {
		if a != answers[0] {
			t.Errorf("the answers differ:\n%s\n%s", a, answers[0])
		}
	}
}
