package rewrite

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Each as the mailer's manual writes it.
func TestMergeTagsAreNoAddresses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"[UNSUBSCRIBE]", "https://e.org/?m=[EMAIL]", "https://e.org/u/[unsubscribe]", "http://[unsubscribe]", "[firstname,fallback=there]",
		"https://e.org/?n=[subscriber:firstname | default:reader]", "[link:subscription_unsubscribe_url]", "https://e.org/?n=[%first_name | there%]",
		"https://e.org/?n=$[FNAME]$", "https://e.org/a-[ID].html", "https://e.org/?a[b]=1&m=[EMAIL]", "[[data:x]]",
		"{name}", "https://e.org/{unsubscribe_url}", "https://e.org/?n={contactfield=firstname}", "https://e.org/?n={first name}", "{$unsubscribe}", "{!remove_web}", "${FNAME}",
		"%FNAME%", "https://e.org/?n=%FIRSTNAME|TITLECASE%&x", "%UNSUBSCRIBELINK%", "https://e.org/?d=%DATE%", "https://e.org/%ADDRESS%/x", "https://e.org/?a=%C3%A9&n=%FNAME%",
		"https://e.org/?n=%FNAME%%LNAME%", "%unsubscribe_url%", "%recipient.id%", "%%EMAIL%%",
		"||ID||", "https://e.org/?i=||ID||", "##FirstName##", "https://e.org/##ID##",
		"$UNSUB$", "http://$UNSUB$", "https://e.org/?n=$first_name$", "@FIRSTNAME@", "https://e.org/?n=@FIRST_NAME@",
		"https://e.org/?i=~Contact.Id~", "https://e.org/?n=~~eloqua..type--emailfield..syntax--FirstName~~",
		"<%= unsubscribe %>", "https://e.org/<%= id %>", "*|UNSUB|*", "{{ id }}",
	} {
		if !placeholder(s) {
			t.Errorf("%q is taken for an address", s)
		}
	}
}

func TestAddressesAreNoMergeTags(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"https://e.org/", "https://e.org/%20foo%20bar%20", "https://e.org/%E2%82%AC", "https://e.org/%c3%a9%C3%A9", "https://e.org/?q=%AB%CD%EF",
		"https://e.org/?q=100%", "https://e.org/?q=100%&x=50%", "https://e.org/100%/x%40y", "https://e.org/%5BUNSUBSCRIBE%5D", "https://e.org/?f%5Bname%5D=1",
		"https://[2001:db8::1]/", "http://[fe80::1]:8080/?a=b", "https://[abcd:ef01::]/", "https://e.org/?via=[fe80::1]",
		"https://e.org/?filter[name]=x", "https://e.org/?a[b][c]=1&ids[]=2", "https://e.org/?tx_news_pi1[news]=3&x_[y]=1", "https://e.org/?q=[1,2]",
		`https://e.org/?q={"a":1}`, "https://e.org/?doc={3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "https://e.org/?doc={A2504E0F-4F89-11D3-9A0C-0305E82C3301}", "https://e.org/%7B1%7D",
		"https://e.org/?$top=5&$skip=10", "https://e.org/Map$Entry$Set.html", "https://e.org/?price=$5&was=$10",
		"https://social.example/@anna@e.org", "https://e.org/@anna/@bob", "https://user@e.org/", "https://e.org/maps/@52.5,13.4,15z",
		"https://e.org/~anna/x~", "https://e.org/~anna~", "https://e.org/~~x~~", "https://e.org/__init__", "https://e.org/?__cft__=1&__tn__=2", "https://e.org/__X__",
		"#top", "https://e.org/#a", "https://e.org/a|b", "https://e.org/a*b*c", "https://e.org/-name-", "https://e.org/;a=(b)!'c',d",
	} {
		if placeholder(s) {
			t.Errorf("%q is taken for a merge tag", s)
		}
	}
}

// Whatever text programs put into a path or a query, what they encoded is an address. Two braces in
// a row are the exception: editors encode those of a tag.
func TestEncodedTextIsNoMergeTag(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[%\[\]$@A-Fa-f0-9é ]{0,20}`)).
			Filter(func(s string) bool {
				return !strings.Contains(s, "{{") && !strings.Contains(s, "{%") && !strings.Contains(s, "*|")
			})
		s := "https://e.org/" + url.PathEscape(text.Draw(t, "path")) + "?q=" + url.QueryEscape(text.Draw(t, "query"))
		if placeholder(s) && !plainSigns(s) {
			t.Fatalf("%q is taken for a merge tag", s)
		}
	})
}

// plainSigns says whether one of the signs stands in s unencoded that a path may hold so.
func plainSigns(s string) bool { return strings.ContainsAny(s, "$@~*") }
