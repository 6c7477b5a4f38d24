package classify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// Limits of an address list. Apple's has 300,000 lines and 12 MB.
const (
	maxListBytes = 256 << 20
	maxListLine  = 4096
	maxListLines = 5_000_000
)

// The widest networks that are taken: a slip that covers half the internet would make nearly every
// event a machine's, or a person's.
const (
	widest4 = 8
	widest6 = 16
)

// LoadEgress reads a file of Apple's egress addresses as ReadEgress does.
func LoadEgress(path string) (*Ranges, error) { return load(path, ReadEgress) }

// LoadNetworks reads a file of networks as ReadNetworks does.
func LoadNetworks(path string) (*Ranges, error) { return load(path, ReadNetworks) }

func load(path string, read func(io.Reader) (*Ranges, error)) (*Ranges, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open address list: %w", err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("address list %s: %w", path, err)
	}
	return r, nil
}

// ReadEgress reads the form in which Apple publishes the egress addresses of Private Relay and mail
// privacy, a geofeed (RFC 8805): network, country, region, city and an empty field, by commas. Blank
// lines and those that start with # are passed over. Errors name the line.
func ReadEgress(r io.Reader) (*Ranges, error) {
	return readList(r, func(line string) (string, error) {
		network, place, found := strings.Cut(line, ",")
		if !found {
			return "", errors.New("no comma: not Apple's egress list, which is network,country,region,city,")
		}
		country, _, _ := strings.Cut(place, ",")
		if len(country) != 0 && len(country) != 2 {
			return "", errors.New("its second field is no country of two letters")
		}
		return network, nil
	})
}

// ReadNetworks reads one network in CIDR form, or one address, per line. Blank lines and what stands
// behind a # are passed over. Errors name the line.
func ReadNetworks(r io.Reader) (*Ranges, error) {
	return readList(r, func(line string) (string, error) {
		network, _, _ := strings.Cut(line, "#")
		return strings.TrimSpace(network), nil
	})
}

func readList(r io.Reader, field func(line string) (string, error)) (*Ranges, error) {
	limited := &io.LimitedReader{R: r, N: maxListBytes + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, maxListLine), maxListLine)
	var networks []netip.Prefix
	n := 0
	for lines.Scan() {
		if n++; n > maxListLines {
			return nil, fmt.Errorf("more than %d lines", maxListLines)
		}
		line := strings.TrimSpace(lines.Text())
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		text, err := field(line)
		if err == nil {
			networks, err = appendNetwork(networks, text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: longer than %d bytes", n+1, maxListLine)
	case err != nil:
		return nil, fmt.Errorf("read after line %d: %w", n, err)
	case limited.N <= 0:
		return nil, fmt.Errorf("larger than %d bytes", maxListBytes)
	case len(networks) == 0:
		return nil, errors.New("it holds no network; name no list to use none")
	}
	return NewRanges(networks), nil
}

func appendNetwork(to []netip.Prefix, text string) ([]netip.Prefix, error) {
	if text == "" {
		return to, errors.New("no network")
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return to, errors.New("not a network in CIDR form")
		}
		network = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case network != network.Masked():
		return to, errors.New("the network has bits set behind its prefix")
	case network.Addr().Is4() && network.Bits() < widest4:
		return to, fmt.Errorf("the network is wider than /%d", widest4)
	case network.Addr().Is6() && network.Bits() < widest6:
		return to, fmt.Errorf("the network is wider than /%d", widest6)
	case network.Addr().Is4In6() && network.Bits() < 96+widest4:
		return to, fmt.Errorf("the network is wider than /%d", 96+widest4)
	}
	return append(to, network), nil
}
