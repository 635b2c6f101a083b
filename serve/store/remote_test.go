package store

import (
	"errors"
	"net/http"
	"testing"

	"mios"
)

// TestRemoteOf believes the proxies that it was told of, and nobody else.
func TestRemoteOf(t *testing.T) {
	proxies, err := ParseProxies("127.0.0.1, 10.0.0.0/8,fd00::/8")
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Proxies: proxies}
	for _, c := range []struct {
		peer string
		said []string
		want string
	}{
		{"192.0.2.7:1", nil, "192.0.2.7"},
		{"192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7"}, // no proxy of ours
		{"127.0.0.1:1", nil, "127.0.0.1"},
		{"127.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[::ffff:127.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"127.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},             // the first is what the caller claims
		{"127.0.0.1:1", []string{"203.0.113.9", "198.51.100.1, 10.1.2.3"}, "198.51.100.1"}, // two proxies
		{"127.0.0.1:1", []string{"nonsense, 10.1.2.3"}, "10.1.2.3"},
		{"[fd00::1%eth0]:1", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"@", nil, "@"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.said}}
		if got := s.remoteOf(r); got != c.want {
			t.Errorf("from %s with X-Forwarded-For %q: %s, want %s", c.peer, c.said, got, c.want)
		}
	}
	for _, bad := range []string{"", "proxy.example.org", "10.0.0.0/33", "127.0.0.1,"} {
		if _, err := ParseProxies(bad); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("ParseProxies(%q): %v", bad, err)
		}
	}
}
