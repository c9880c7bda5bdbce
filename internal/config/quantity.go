package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// unit is one unit of a quantity.
type unit struct {
	name string
	size int64
}

var durationUnits = []unit{
	{"ms", int64(time.Millisecond)},
	{"s", int64(time.Second)},
	{"m", int64(time.Minute)},
	{"h", int64(time.Hour)},
	{"d", int64(24 * time.Hour)},
	{"w", int64(7 * 24 * time.Hour)},
}

var sizeUnits = []unit{
	{"", 1}, {"B", 1},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
}

// ParseDuration reads "30s", "12h", "30d", "1h30m" and plain "0". Units are ms, s, m, h, d (24 hours) and w.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	const form = "is not a duration: a whole number with a unit of ms, s, m, h, d or w"
	if s == "" {
		return 0, fmt.Errorf("%s %s", show(s), form)
	}
	total := int64(0)
	for rest := s; rest != ""; {
		n, after, ok := leadingNumber(rest)
		if !ok {
			return 0, fmt.Errorf("%s %s", show(s), form)
		}
		name, next := after, ""
		if i := strings.IndexAny(after, "0123456789"); i >= 0 {
			name, next = after[:i], after[i:]
		}
		u, ok := findUnit(durationUnits, name)
		if !ok {
			return 0, fmt.Errorf("%s %s", show(s), form)
		}
		if n > (math.MaxInt64-total)/u.size {
			return 0, fmt.Errorf("%s is longer than any duration can be (292 years)", show(s))
		}
		total += n * u.size
		rest = next
	}
	return time.Duration(total), nil
}

// ParseSize reads "16MiB", "1GiB", "500MB" and a plain number of octets.
func ParseSize(s string) (int64, error) {
	n, name, ok := leadingNumber(s)
	if ok {
		var u unit
		if u, ok = findUnit(sizeUnits, strings.TrimLeft(name, " ")); ok {
			if n > math.MaxInt64/u.size {
				return 0, fmt.Errorf("%s is larger than any size can be", show(s))
			}
			return n * u.size, nil
		}
	}
	return 0, fmt.Errorf("%s is not a size: a whole number with a unit of KiB, MiB, GiB or TiB, or of kB, MB, GB or TB", show(s))
}

// FormatSize writes a number of octets with the largest binary unit that leaves it whole; ParseSize reads it back.
func FormatSize(n int64) string {
	name, size := "", int64(1)
	for _, u := range sizeUnits[2:6] {
		if n != 0 && n%u.size == 0 {
			name, size = u.name, u.size
		}
	}
	return strconv.FormatInt(n/size, 10) + name
}

func leadingNumber(s string) (n int64, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(s[:i], 10, 64)
	return n, s[i:], err == nil
}

func findUnit(units []unit, name string) (unit, bool) {
	for _, u := range units {
		if u.name == name {
			return u, true
		}
	}
	return unit{}, false
}

// parsePrefix reads a network in CIDR form; an address alone is the network of that address.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s is not a network", show(s))
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a network", show(s))
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%s mixes IPv4 and IPv6", show(s))
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%s has address bits behind its length of %d; the network is %q", show(s), p.Bits(), m)
	}
	return p, nil
}
