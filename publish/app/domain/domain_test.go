package domain_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mios"
	"mios/publish/app/domain"
)

func TestOf(t *testing.T) {
	for pkg, want := range map[string]string{
		"org.example.clock": "example.org", "Org.Example.clock": "example.org", "clock": "", "a_b.c": "", "com.x": "x.com",
	} {
		if got := domain.Of(pkg); got != want {
			t.Errorf("Of(%q) = %q, want %q", pkg, got, want)
		}
	}
}

// server answers every address with what body returns.
func server(t *testing.T, body func(w http.ResponseWriter, r *http.Request)) *domain.Web {
	s := httptest.NewTLSServer(http.HandlerFunc(body))
	t.Cleanup(s.Close)
	c := s.Client()
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com" // of httptest's certificate
	return &domain.Web{Client: c, Resolver: resolver(t, nil)}
}

func TestProve(t *testing.T) {
	signer, other := mios.Sum([]byte("signer")), mios.Sum([]byte("other"))
	colons := strings.ToUpper(fmt.Sprintf("% x", signer[:]))
	file := func(pkg, fingerprint string) string {
		return fmt.Sprintf(`[{"relation":["delegate_permission/common.handle_all_urls"],"target":{"namespace":"web","site":"https://x"}},
			{"relation":[],"target":{"namespace":"android_app","package_name":%q,"sha256_cert_fingerprints":["zz",%q]}}]`, pkg, fingerprint)
	}
	for _, tt := range []struct {
		name, body, want string // want "": proved
	}{
		{"named", file("org.example.clock", strings.ReplaceAll(colons, " ", ":")), ""},
		{"other package", file("org.example.other", signer.String()), "does not name the package"},
		{"other signer", file("org.example.clock", other.String()), "other certificates"},
		{"no JSON", "<html>", "cannot be read"},
		{"too much", strings.Repeat(" ", 1<<20), "more than"},
		{"none", "404", "404"},
		{"redirect", "302", ""},
	} {
		w := server(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Host != "example.org" || r.URL.Path != domain.Path:
				t.Errorf("asked %s%s", r.Host, r.URL.Path)
			case tt.body == "404":
				w.WriteHeader(404)
			case tt.body == "302":
				http.Redirect(w, r, "https://example.org/elsewhere", http.StatusFound)
			default:
				fmt.Fprint(w, tt.body)
			}
		})
		if tt.name == "redirect" {
			w.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("no") }
			tt.want = "no"
		}
		err := w.Prove(t.Context(), "org.example.clock", []mios.Digest{signer})
		if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, mios.ErrDenied) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: Prove = %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestInside: a name that leads into the operator's own network is not asked.
func TestInside(t *testing.T) {
	for address, ok := range map[string]bool{
		"10.0.0.1:443": false, "192.168.1.1:443": false, "[::1]:443": false, "[::ffff:127.0.0.1]:443": false, "169.254.169.254:80": false,
		"[fd00::1]:443": false, "9.9.9.9:443": true, "[2620:fe::fe]:443": true, "nonsense": false,
	} {
		if err := domain.Public(address); (err == nil) != ok {
			t.Errorf("Public(%s) = %v, want allowed: %v", address, err, ok)
		}
	}
}
