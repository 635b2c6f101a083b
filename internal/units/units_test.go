package units_test

import (
	"testing"

	"mios/internal/units"
)

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		n             int64
		binary, exact string
	}{
		{0, "0 bytes", "0 bytes"},
		{1 << 10, "1024 bytes", "1 KiB"},
		{10<<10 - 1, "10239 bytes", "10239 bytes"},
		{10 << 10, "10.0 KiB", "10 KiB"},
		{10<<20 - 1, "10240.0 KiB", "10485759 bytes"},
		{10 << 20, "10.0 MiB", "10240 KiB"},
		{31 << 19, "15.5 MiB", "15872 KiB"},
		{10 << 30, "10.0 GiB", "10485760 KiB"},
		{1 << 50, "1048576.0 GiB", "1099511627776 KiB"},
	} {
		if b, e := units.Binary(tt.n), units.Exact(tt.n); b != tt.binary || e != tt.exact {
			t.Errorf("%d: Binary = %q, Exact = %q; want %q, %q", tt.n, b, e, tt.binary, tt.exact)
		}
	}
}
