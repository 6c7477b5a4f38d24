package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/webhook"
)

// The functions below read one kind of value each, and return what is wrong and what would be
// right, or nothing.

func text(to *string, v, right string) string {
	if strings.TrimSpace(v) == "" || strings.ContainsRune(v, 0) {
		return "is empty; right would be " + right
	}
	*to = v
	return ""
}

// topic reads a name that Kafka takes for topics and groups.
func topic(to *string, v string) string {
	if v == "" || len(v) > 200 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" || strings.Trim(v, ".") == "" {
		return fmt.Sprintf("is %q; right would be a name of letters, digits, \".\", \"_\" and \"-\"", v)
	}
	*to = v
	return ""
}

func file(to *string, v string) string {
	if v == "" {
		return ""
	}
	f, err := os.Open(v)
	if err != nil {
		return fmt.Sprintf("can't be read: %v; right would be the name of a file, or nothing", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.IsDir() {
		return fmt.Sprintf("is %q, a folder; right would be the name of a file, or nothing", v)
	}
	*to = v
	return ""
}

func folder(to *string, v string) string {
	if v == "" {
		return ""
	}
	if st, err := os.Stat(v); err != nil {
		return fmt.Sprintf("can't be read: %v; right would be the name of a folder, or nothing", err)
	} else if !st.IsDir() {
		return fmt.Sprintf("is %q, which is no folder; right would be the name of a folder, or nothing", v)
	}
	*to = v
	return ""
}

func address(to *string, v string) string {
	host, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /@") {
		return fmt.Sprintf("is %q; right would be a host and a port as 127.0.0.1:8080, [::1]:8080, or :8080 for every address", v)
	}
	*to = v
	return ""
}

func publicURL(to *string, v string) string {
	if v == "" {
		return ""
	}
	const right = "; right would be a scheme and a host as https://t.example.com"
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return fmt.Sprintf("is %q%s", v, right)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Sprintf("is %q, which is neither http nor https%s", v, right)
	case u.User != nil:
		return "holds a user name or a password" + right
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Sprintf("is %q, which goes on after the host%s", v, right)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\`, r) }):
		return fmt.Sprintf("is %q, whose host holds a character that mail can't carry (write an international name as xn--...)%s", v, right)
	}
	*to = u.Scheme + "://" + strings.ToLower(u.Host)
	return ""
}

func webhookURL(to *string, v string) string {
	if v != "" {
		if err := webhook.CheckURL(v); err != nil {
			return err.Error() // without the URL: it may hold a key
		}
	}
	*to = v
	return ""
}

func issuer(to *string, v string) string {
	if v != "" {
		if err := webhook.CheckURL(v); err != nil {
			return err.Error()
		}
	}
	*to = v
	return ""
}

// LocalURL is the public URL of a listener on this machine, for trying things out.
func LocalURL(addr net.Addr) string {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	host := "localhost"
	if a := ap.Addr(); !a.IsUnspecified() && !a.IsLoopback() {
		host = a.Unmap().String()
		if a.Unmap().Is6() {
			host = "[" + host + "]"
		}
	}
	return fmt.Sprintf("http://%s:%d", host, ap.Port())
}

func duration(to *time.Duration, v string, least, most time.Duration) string {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Sprintf("is %q; right would be a number with its unit as 15s, 500ms or 1m30s", v)
	}
	if d < least || d > most {
		return fmt.Sprintf("is %s; right would be %s to %s", v, least, most)
	}
	*to = d
	return ""
}

func number(to *int, v string, least, most int) string {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return fmt.Sprintf("is %q; right would be a number from %d to %d", v, least, most)
	}
	*to = n
	return ""
}

// units of sizes, longest names first.
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

func size(to *int64, v string, least, most int64) string {
	wrong := func() string {
		return fmt.Sprintf("is %q; right would be a size from %s to %s, in whole B, KiB, MiB, GiB, kB, MB or GB", v, sizeText(least), sizeText(most))
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(v, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > most/u.bytes || n*u.bytes < least {
			return wrong()
		}
		*to = n * u.bytes
		return ""
	}
	return wrong()
}

func sizeText(n int64) string {
	for _, u := range slices.Backward(units[:3]) {
		if n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

func networks(to *[]netip.Prefix, v string) string {
	*to = nil
	if strings.TrimSpace(v) == "" {
		return ""
	}
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, aerr := netip.ParseAddr(part)
			if aerr != nil || a.Zone() != "" {
				return fmt.Sprintf("holds %q; right would be networks or addresses with commas between, as 10.0.0.0/8,192.0.2.7", part)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p != p.Masked() {
			return fmt.Sprintf("holds %s, which has bits behind its length; right would be %s", part, p.Masked())
		}
		if p.Bits() == 0 {
			return fmt.Sprintf("holds %s, which is everybody: any client could then claim any address; right would be the proxies' own networks", part)
		}
		*to = append(*to, p)
	}
	return ""
}

func oneOf(v string, words ...string) string {
	if slices.Contains(words, v) {
		return ""
	}
	return fmt.Sprintf("is %q; right would be %s or %s", v, strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
}
