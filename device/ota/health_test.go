package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mios/api"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status string, code int) (*http.Response, error) {
	return &http.Response{Status: status, StatusCode: code, Body: io.NopCloser(strings.NewReader("hello"))}, nil
}

func TestHealth(t *testing.T) {
	tests := []struct {
		name   string
		checks []api.HealthCheck
		want   string        // of the error; empty if they hold
		took   time.Duration // by the bubble's clock
	}{
		{"none", nil, "", 0},
		{"property", []api.HealthCheck{{Name: "net", Property: "net.online=1", Timeout: 60}}, "", 10 * time.Second},
		{"property never", []api.HealthCheck{{Name: "net", Property: "net.online=2", Timeout: 60}}, `health check "net": net.online is "1", want "2" (after 1m0s)`, time.Minute},
		{"service", []api.HealthCheck{{Name: "apps", Service: "installd", Timeout: 5}}, "", 2 * time.Second},
		{"service that dies as it starts", []api.HealthCheck{{Name: "apps", Service: "crashing", Timeout: 9}}, `health check "apps": service crashing ended after it had started`, 9 * time.Second},
		{"service that starts late", []api.HealthCheck{{Name: "apps", Service: "late", Timeout: 11}}, `health check "apps": service late started only just now`, 11 * time.Second},
		{"dead service", []api.HealthCheck{{Name: "apps", Service: "other", Timeout: 5}}, `health check "apps": init.svc.other is "", want "running" (after 5s)`, 5 * time.Second},
		{"http", []api.HealthCheck{{Name: "page", HTTP: "http://127.0.0.1/good", Timeout: 5}}, "", 0},
		{"http soon", []api.HealthCheck{{Name: "page", HTTP: "http://127.0.0.1/soon", Timeout: 5}}, "", time.Second},
		{"http 500", []api.HealthCheck{{Name: "page", HTTP: "http://127.0.0.1/bad", Timeout: 5}}, `health check "page": http://127.0.0.1/bad answers 500 no (after 5s)`, 5 * time.Second},
		{"first of several", []api.HealthCheck{
			{Name: "a", HTTP: "http://127.0.0.1/good", Timeout: 5}, {Name: "b", HTTP: "http://127.0.0.1/bad", Timeout: 9}, {Name: "c", Property: "x=y", Timeout: 3},
		}, `health check "b"`, 9 * time.Second},
		{"outside", []api.HealthCheck{{Name: "b", HTTP: "http://127.0.0.1/bad", Outside: true, Timeout: 5}}, "outside: health check \"b\"", 5 * time.Second},
		{"outside and inside", []api.HealthCheck{
			{Name: "b", HTTP: "http://127.0.0.1/bad", Outside: true, Timeout: 5}, {Name: "c", Property: "x=y", Timeout: 3},
		}, `health check "c"`, 5 * time.Second},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				soon := 0
				h := &Health{
					Properties: &fakeProps{w: &world{props: map[string]string{"init.svc.installd": "running"}}},
					HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
						mu.Lock()
						defer mu.Unlock()
						switch r.URL.Path {
						case "/bad":
							return answer("500 no", 500)
						case "/soon":
							if soon++; soon < 3 {
								return nil, errors.New("connection refused")
							}
						}
						return answer("204 fine", 204)
					}),
				}
				go func() {
					for i := range 9 { // init starts it again and again
						h.Properties.Set(context.Background(), "init.svc_debug_pid.crashing", fmt.Sprint(i))
						h.Properties.Set(context.Background(), "init.svc.crashing", "running")
						time.Sleep(time.Second)
					}
					time.Sleep(time.Second - time.Millisecond)
					h.Properties.Set(context.Background(), "net.online", "1")
					h.Properties.Set(context.Background(), "init.svc.late", "running")
				}()
				start := time.Now()
				err := h.Run(context.Background(), tc.checks)
				if errors.Is(err, errOutside) {
					err = fmt.Errorf("outside: %w", err)
				}
				if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || errors.Is(err, errOutside) != strings.HasPrefix(tc.want, "outside")) {
					t.Errorf("Run = %v, want %q", err, tc.want)
				}
				if took := time.Since(start); took < tc.took || took > tc.took+2*time.Second {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
				time.Sleep(20 * time.Second)
			})
		})
	}
}

func TestHealthExec(t *testing.T) {
	h := &Health{}
	for _, tc := range []struct {
		argv []string
		want string
	}{
		{[]string{"/bin/sh", "-c", "exit 0"}, ""},
		{[]string{"/bin/sh", "-c", "echo one; echo two >&2; exit 3"}, "exit status 3: two (after 1s)"},
		{[]string{"/nowhere"}, "no such file"},
	} {
		err := h.Run(context.Background(), []api.HealthCheck{{Name: "x", Exec: tc.argv, Timeout: 1}})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Run(%q) = %v, want %q", tc.argv, err, tc.want)
		}
	}
}
