package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mailbeacon/ingest/spool"
	"mailbeacon/internal/api"
	"mailbeacon/internal/config"
)

// greeting is what a server says to the person who started it.
type greeting struct {
	data        string
	fresh       bool
	edge, admin net.Addr
	publicURL   string
	dashboard   string // with a link that signs in once
	warnings    []string
	recovery    spool.Recovery
}

// welcome prints where everything is, what deserves attention and, at the first start, what to type
// next. It goes to stdout; what happens later is logged to stderr.
func welcome(w io.Writer, g *greeting) {
	made := ""
	if g.fresh {
		made = " (new: keys were made, mode 0600; back up " + keyringFile + ")"
	}
	fmt.Fprintf(w, `
mailbeacon %s
  data     %s%s
  public   %s, mail carries %s
  private  %s, key in %s
  browser  %s
           signs in once, within 10 minutes; %s sign-in prints another
`, version(), g.data, made, config.LocalURL(g.edge), g.publicURL, config.LocalURL(g.admin), filepath.Join(g.data, api.AdminKeyFile), g.dashboard, program(g.data))
	if !g.recovery.Clean() {
		for line := range strings.Lines(g.recovery.String()) {
			fmt.Fprintf(w, "  spool    %s\n", strings.TrimSpace(line))
		}
	}
	for _, warning := range g.warnings {
		fmt.Fprintf(w, "  note     %s\n", warning)
	}
	if g.fresh {
		fmt.Fprint(w, firstSteps(program(g.data)))
	}
	fmt.Fprintln(w)
}

// firstSteps are commands that work when they are pasted into another terminal in the same folder.
func firstSteps(program string) string {
	return strings.ReplaceAll(`
A first campaign, in another terminal:
  MB campaign add hello --title "A first mail"
  echo '<p>Hello! <a href="https://example.com/">Look here</a>.</p>' > mail.html
  MB message render hello --to ann@example.com --html mail.html --out ann.html
Open ann.html in a browser, wait two seconds and click the link. After the classification window:
  MB report hello
`, "MB", program)
}

// program is how its commands are called for a data folder.
func program(data string) string {
	if data != defaultData() {
		return "MAILBEACON_DATA=" + shellWord(data) + " " + programName()
	}
	return programName()
}

// programName is how the person called this program, so that advice can be pasted.
func programName() string {
	exe, err := os.Executable()
	if err != nil {
		return "mailbeacon"
	}
	for dir := range strings.SplitSeq(filepath.ToSlash(exe), "/") {
		if strings.HasPrefix(dir, "go-build") { // `go run` builds there
			return "go run ./cmd/mailbeacon"
		}
	}
	if found, err := exec.LookPath("mailbeacon"); err == nil {
		a, aerr := os.Stat(found)
		b, berr := os.Stat(exe)
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			return "mailbeacon"
		}
	}
	return shellWord(os.Args[0])
}

// shellWord quotes a word for a POSIX shell where it needs that.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// warnings are settings that are fine for trying things out and not for real mail.
func warnings(cfg *config.Config, admin net.Addr) []string {
	var all []string
	local := cfg.PublicURL == ""
	if local {
		all = append(all, "mail made now works on this machine only; set --public-url to what mail readers can reach")
	}
	if strings.HasPrefix(cfg.PublicURL, "http://") && !local {
		all = append(all, "--public-url is not https: whoever is on the way can see and change what people click")
	}
	if ap, err := netip.ParseAddrPort(admin.String()); err == nil && !ap.Addr().IsLoopback() {
		all = append(all, fmt.Sprintf("the private side listens on %s without TLS: its keys and people's addresses must not cross a public network", admin))
	}
	return all
}
