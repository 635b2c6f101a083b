package domain_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"mios"
	"mios/publish/app/domain"
)

// resolver asks a small DNS server on this machine, which knows the TXT records of
// some names: each record is its strings. It fails over a name whose records are
// nil, and says of others that they are not there.
func resolver(t *testing.T, records map[string][][]string) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { c.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if out, err := answer(b[:n], records); err != nil {
				t.Errorf("DNS: %v", err)
			} else if _, err := c.WriteTo(out, from); err != nil {
				t.Errorf("DNS: %v", err)
			}
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func answer(in []byte, records map[string][][]string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(in); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	list, ok := records[q.Name.String()]
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	switch {
	case ok && list == nil:
		out.RCode = dnsmessage.RCodeServerFailure
	case !ok:
		out.RCode = dnsmessage.RCodeNameError
	}
	for _, texts := range list {
		if q.Type == dnsmessage.TypeTXT {
			h := dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 1}
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.TXTResource{TXT: texts}})
		}
	}
	return out.Pack()
}

// TestProveDNS: where the web does not vouch for a signer, the DNS may.
func TestProveDNS(t *testing.T) {
	signer, other := mios.Sum([]byte("signer")), mios.Sum([]byte("other"))
	const pkg, name = "org.example.clock", "_mios-app.example.org."
	good := pkg + " " + signer.String()
	for _, tt := range []struct {
		what    string
		records map[string][][]string
		want    string // "": proved
	}{
		{"named", map[string][][]string{name: {{"v=spf1 -all"}, {good}}}, ""},
		{"named, in parts", map[string][][]string{name: {{good[:30], good[30:]}}}, ""},
		{"named, with colons", map[string][][]string{name: {{pkg + "  " + strings.ToUpper(signer.String()[:2]+":"+signer.String()[2:])}}}, ""},
		{"no record", nil, "_mios-app.example.org has no TXT record"},
		{"at the domain itself", map[string][][]string{"example.org.": {{good}}}, "has no TXT record"},
		{"of another package", map[string][][]string{name: {{"org.example.clock2 " + signer.String()}, {"org.example " + signer.String()}}}, "no TXT record of _mios-app.example.org names the package"},
		{"of another signer", map[string][][]string{name: {{pkg + " " + other.String()}}}, "with other certificates"},
		{"of half a signer", map[string][][]string{name: {{pkg + " " + signer.String()[:32]}, {pkg}}}, "with other certificates"},
		{"a server that fails", map[string][][]string{name: nil}, "server misbehaving"},
	} {
		w := server(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) })
		w.Resolver = resolver(t, tt.records)
		err := w.Prove(t.Context(), pkg, []mios.Digest{signer})
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		if !errors.Is(err, mios.ErrDenied) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), `TXT record of _mios-app.example.org: "`+good+`"`) {
			t.Errorf("%s: Prove = %v, want %q", tt.what, err, tt.want)
		}
	}
	w := &domain.Web{Resolver: resolver(t, map[string][][]string{name: {{good}}})}
	for _, bad := range []string{"clock", "a_b.c"} {
		if err := w.Prove(t.Context(), bad, []mios.Digest{signer}); !errors.Is(err, mios.ErrDenied) {
			t.Errorf("Prove(%s) = %v", bad, err)
		}
	}
	if err := w.Prove(t.Context(), pkg, nil); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Prove of nobody = %v", err)
	}
}
