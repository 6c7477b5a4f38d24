package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"time"
	_ "time/tzdata" // machines and containers may have none
)

// zone is the time zone that a page is shown in.
type zone struct {
	*time.Location
	notice string // why it is not the one that was asked for
}

var utc = zone{Location: time.UTC}

const (
	zoneParameter = "zone"
	aYear         = 365 * 24 * 60 * 60
)

// zones are what the page offers: one for each way of keeping time that many people live by. Any other name of the IANA's
// list may be asked for.
var zones = []string{
	"UTC",
	"Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi",
	"America/Anchorage", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Caracas", "America/Chicago", "America/Denver",
	"America/Halifax", "America/Los_Angeles", "America/Mexico_City", "America/New_York", "America/Phoenix", "America/Santiago",
	"America/Sao_Paulo", "America/St_Johns", "America/Toronto",
	"Asia/Bangkok", "Asia/Dhaka", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Jerusalem", "Asia/Karachi", "Asia/Kathmandu",
	"Asia/Kolkata", "Asia/Manila", "Asia/Seoul", "Asia/Shanghai", "Asia/Singapore", "Asia/Tashkent", "Asia/Tehran", "Asia/Tokyo",
	"Atlantic/Azores", "Atlantic/Reykjavik",
	"Australia/Adelaide", "Australia/Brisbane", "Australia/Darwin", "Australia/Perth", "Australia/Sydney",
	"Europe/Athens", "Europe/Berlin", "Europe/Helsinki", "Europe/Istanbul", "Europe/Lisbon", "Europe/London", "Europe/Madrid",
	"Europe/Moscow", "Europe/Paris", "Europe/Rome", "Europe/Vienna", "Europe/Warsaw", "Europe/Zurich",
	"Pacific/Auckland", "Pacific/Honolulu",
}

// loadZone finds a zone by its name in the IANA's list.
func loadZone(name string) (*time.Location, bool) {
	// "Local" is the server's own, which is nobody's business; the rest keeps the look-up to names.
	if name == "" || name == "Local" || len(name) > 64 {
		return nil, false
	}
	l, err := time.LoadLocation(name)
	return l, err == nil
}

// zoneOf is what the address asks for, or else the cookie, or else UTC. What the address asked for is kept in the cookie.
func (d *Dashboard) zoneOf(w http.ResponseWriter, k *look) zone {
	if name := k.query.Get(zoneParameter); name != "" {
		l, ok := loadZone(name)
		if !ok {
			return zone{time.UTC, "There is no time zone called “" + short(name, 64) + "”, so times are in UTC. Names are those of the IANA's list, like Europe/Berlin."}
		}
		//nolint:gosec // Secure goes by how the request came
		http.SetCookie(w, &http.Cookie{
			Name: zoneParameter, Value: url.QueryEscape(l.String()), Path: "/", MaxAge: aYear, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: d.o.Secure(k.Request),
		})
		return zone{Location: l}
	}
	if c, err := k.Cookie(zoneParameter); err == nil {
		if name, err := url.QueryUnescape(c.Value); err == nil {
			if l, ok := loadZone(name); ok {
				return zone{Location: l}
			}
		}
	}
	return utc
}

func (z zone) day(t time.Time) string { return t.In(z.Location).Format("2 Jan 2006") }

// moment is a time of day, with the date and the zone's abbreviation.
func (z zone) moment(t time.Time) string {
	return t.In(z.Location).Format("2 Jan 2006, 15:04:05 MST")
}

// zoneView is the form that chooses a zone.
type zoneView struct {
	Name, Notice string
	Names        []string
	Keep         [][2]string // the page's other parameters
}

func (z zone) view(query url.Values) zoneView {
	v := zoneView{Name: z.String(), Notice: z.notice, Names: zones}
	if !slices.Contains(zones, v.Name) {
		v.Names = append([]string{v.Name}, zones...)
	}
	for _, name := range []string{"before", "by", "n", "q", "rank"} {
		if value := query.Get(name); value != "" {
			v.Keep = append(v.Keep, [2]string{name, value})
		}
	}
	return v
}
