package api_test

import (
	"errors"
	"testing"

	"mios"
	"mios/api"
)

func TestPlaceAllows(t *testing.T) {
	list := func(s ...string) []string { return s }
	for _, tt := range []struct {
		name    string
		place   api.Place
		regions []string
		want    bool
		says    string
	}{
		{"for everywhere", api.Place{Region: "DE", Ships: list("DE")}, nil, true, "in DE"},
		{"for everywhere, unknown", api.Place{}, nil, true, "anywhere"},
		{"its own", api.Place{Region: "DE"}, list("CN", "DE"), true, "in DE"},
		{"another's", api.Place{Region: "DE", Ships: list("CN", "DE")}, list("CN"), false, "in DE"},
		{"taken elsewhere", api.Place{Region: "FR", Ships: list("CN", "DE")}, list("CN", "DE"), false, "in FR"},
		{"all that it ships in", api.Place{Ships: list("CN", "DE")}, list("DE", "FR", "CN"), true, "in any of CN, DE"},
		{"some that it ships in", api.Place{Ships: list("CN", "DE")}, list("DE"), false, "in any of CN, DE"},
		{"ships everywhere", api.Place{}, list("DE"), false, "anywhere"},
	} {
		if got := tt.place.Allows(tt.regions); got != tt.want {
			t.Errorf("%s: Allows = %v, want %v", tt.name, got, tt.want)
		}
		if got := tt.place.String(); got != tt.says {
			t.Errorf("%s: String = %q, want %q", tt.name, got, tt.says)
		}
	}
}

func TestCheckRegion(t *testing.T) {
	for code, ok := range map[string]bool{"DE": true, "CN": true, "": false, "de": false, "DEU": false, "D1": false, "Ä": false} {
		if err := api.CheckRegion(code); ok != (err == nil) || err != nil && !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("CheckRegion(%q) = %v, want ok = %v", code, err, ok)
		}
	}
}
