package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// bound is the role that is given together with a name: whose numbers its holder may see.
const bound = "advertiser"

// Grant is what somebody gets whose claim holds a value.
type Grant struct {
	Value      string
	Role       string
	Advertiser string // with the role advertiser alone
}

// ParseRoles reads which values of the claim give which role, the most important first: "staff=admin,news=marketer,
// acme=advertiser:acme-shoes". A value may hold anything but "," and "="; %XX stands for those. roles are those that there are.
// The error says what is wrong, to be read after the setting's name, and what would be right.
func ParseRoles(text string, roles []string) ([]Grant, error) {
	var all []Grant
	for part := range strings.SplitSeq(text, ",") {
		value, role, ok := strings.Cut(strings.TrimSpace(part), "=")
		value = unescape.Replace(strings.TrimSpace(value))
		role, name, named := strings.Cut(strings.TrimSpace(role), ":")
		switch {
		case !ok || value == "" || role == "":
			return nil, fmt.Errorf("holds %q; right would be VALUE=ROLE with commas between, as news=marketer,acme=advertiser:acme-shoes", part)
		case !slices.Contains(roles, role):
			return nil, fmt.Errorf("holds the role %q; right would be one of %s", role, strings.Join(roles, ", "))
		case role == bound && name == "":
			return nil, fmt.Errorf("holds %q without whose numbers are to be seen; right would be VALUE=advertiser:NAME", part)
		case role != bound && named:
			return nil, fmt.Errorf("holds %q; only the role advertiser is followed by a name", part)
		case slices.ContainsFunc(all, func(g Grant) bool { return g.Value == value }):
			return nil, fmt.Errorf("holds the value %q twice; right would be each once", value)
		}
		all = append(all, Grant{value, role, name})
	}
	if len(all) == 0 {
		return nil, errors.New("is empty; nobody could sign in")
	}
	return all, nil
}

var unescape = strings.NewReplacer("%2C", ",", "%2c", ",", "%3D", "=", "%3d", "=", "%25", "%")

// granted is the first of the grants whose value a claim holds: a text, or a list of texts.
func granted(grants []Grant, claim any) (Grant, bool) {
	var values []string
	switch c := claim.(type) {
	case string:
		values = []string{c}
	case []any:
		for _, v := range c {
			if s, ok := v.(string); ok {
				values = append(values, s)
			}
		}
	}
	for _, g := range grants {
		if slices.Contains(values, g.Value) {
			return g, true
		}
	}
	return Grant{}, false
}
