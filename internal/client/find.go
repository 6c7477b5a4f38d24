package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"mailbeacon/internal/api"
	"mailbeacon/internal/datadir"
)

// AddrFile is where a running server writes the address of its private side, in its data folder.
const AddrFile = "admin.addr"

// defaultServer is where a server listens that was told nothing else.
const defaultServer = "http://127.0.0.1:8081"

// WriteAddr leaves the address of the private side in the data folder, for Find. left is false where the disk is full.
func WriteAddr(dir string, addr net.Addr) (left bool, err error) {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return false, fmt.Errorf("leave the admin address in the data folder: %w", err)
	}
	host := ap.Addr().Unmap()
	if host.IsUnspecified() { // [::] takes IPv4 too, which every machine has
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	line := "http://" + netip.AddrPortFrom(host, ap.Port()).String() + "\n"
	return datadir.Hint(filepath.Join(dir, AddrFile), []byte(line), 0o600)
}

// Where says which server is meant, as far as it was said. All fields may be empty.
type Where struct {
	Server string // URL
	Key    string
	Data   string // the data folder of a server on this machine
}

// Find makes a client of what was said and, for the rest, of what the server on this machine left in
// its data folder: its address, and the admin key. That key goes to this machine only.
func Find(w Where) (*Client, error) {
	server, ours := w.Server, true
	if server == "" {
		server = localServer(w.Data)
	} else {
		u, err := parseServer(server)
		if err != nil {
			return nil, err
		}
		ours = isLoopback(u) || strings.TrimSuffix(u.String(), "/") == localServer(w.Data)
	}
	if w.Key != "" {
		return New(server, w.Key)
	}
	if !ours {
		return nil, errors.New("a key is needed for a server elsewhere: give --key or MAILBEACON_KEY")
	}
	key, err := api.ReadAdminKey(w.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no key: %s is not there; name the server's data folder with --data, or give --key or MAILBEACON_KEY", filepath.Join(w.Data, api.AdminKeyFile))
	}
	if err != nil {
		return nil, err
	}
	return New(server, key)
}

// localServer is the URL that the server left, or the usual one.
func localServer(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, AddrFile))
	if server := strings.TrimSpace(string(b)); err == nil && server != "" {
		return server
	}
	return defaultServer
}

func isLoopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback()
}
