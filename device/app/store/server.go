package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"mios/device/app"
)

// The verbs that a store answers on installd's socket.
const (
	opSearch  = "store-search"  // args: words
	opShow    = "store-show"    // args: package
	opInstall = "store-install" // args: package
	opUpdate  = "store-update"  // args: packages, unmetered
	opList    = "store-list"
	opReport  = "store-report"
)

// args are the arguments of all verbs.
type args struct {
	Words    string   `json:"words,omitempty"`
	Package  string   `json:"package,omitempty"`
	Packages []string `json:"packages,omitempty"`
	Options
}

var _ app.Handler = (*Store)(nil).Handle

// Handle answers what a [Client] asks.
func (s *Store) Handle(ctx context.Context, op string, raw json.RawMessage, say func(any)) (any, error) {
	var a args
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); len(raw) > 0 && err != nil {
		return nil, fmt.Errorf("request %s: %w", op, err)
	}
	tell := func(p Progress) { say(p) }
	switch op {
	case opSearch:
		return s.Search(ctx, a.Words, tell)
	case opShow:
		return s.Show(ctx, a.Package, tell)
	case opInstall:
		return s.Install(ctx, a.Package, tell)
	case opUpdate:
		list, err := s.Update(ctx, a.Packages, a.Options, tell)
		if len(list) > 0 && err != nil {
			s.cfg.Log.Warn("store", "err", err) // what was done is told nevertheless
			err = nil
		}
		return list, err
	case opList:
		return s.List(), nil
	case opReport:
		return s.Report(), nil
	}
	return nil, fmt.Errorf("unknown request %q", op)
}

// Serve answers for a store that open opens in the background, so that nobody who
// waits for packages waits for it, and keeps its packages up to date until ctx
// ends. While it cannot be opened, every request tries again and hears why not.
func Serve(ctx context.Context, open func() (*Store, error), log *slog.Logger) app.Handler {
	var mu sync.Mutex
	var s *Store
	get := func() (*Store, error) {
		mu.Lock()
		defer mu.Unlock()
		if s != nil {
			return s, nil
		}
		opened, err := open()
		if err != nil {
			return nil, err
		}
		s = opened
		go s.Run(ctx)
		return s, nil
	}
	go func() {
		if _, err := get(); err != nil {
			log.Warn("apps come from files alone", "err", err)
		}
	}()
	return func(ctx context.Context, op string, raw json.RawMessage, say func(any)) (any, error) {
		if !slices.Contains([]string{opSearch, opShow, opInstall, opUpdate, opList, opReport}, op) {
			return nil, fmt.Errorf("unknown request %q", op)
		}
		s, err := get()
		if err != nil {
			return nil, app.Refuse(app.CodeInternal, "this device has no repository: %v; install a file", err)
		}
		return s.Handle(ctx, op, raw, say)
	}
}

// A Client asks the store over installd's socket. Its methods are the store's own;
// what goes on, Say hears, which may be nil.
type Client struct {
	App app.Client
	Say Say
}

func (c *Client) ask(ctx context.Context, op string, a args, result any) error {
	return c.App.Ask(ctx, op, a, result, func(b json.RawMessage) {
		var p Progress
		if c.Say != nil && json.Unmarshal(b, &p) == nil {
			c.Say(p)
		}
	})
}

// Search is [Store.Search].
func (c *Client) Search(ctx context.Context, words string) (*Found, error) {
	found := new(Found)
	return found, c.ask(ctx, opSearch, args{Words: words}, found)
}

// Show is [Store.Show].
func (c *Client) Show(ctx context.Context, pkg string) (*Shown, error) {
	sh := new(Shown)
	return sh, c.ask(ctx, opShow, args{Package: pkg}, sh)
}

// Install is [Store.Install].
func (c *Client) Install(ctx context.Context, pkg string) (*Result, error) {
	r := new(Result)
	return r, c.ask(ctx, opInstall, args{Package: pkg}, r)
}

// Update is [Store.Update].
func (c *Client) Update(ctx context.Context, pkgs []string, o Options) (list []*Result, err error) {
	err = c.ask(ctx, opUpdate, args{Packages: pkgs, Options: o}, &list)
	return list, err
}

// List is [Store.List].
func (c *Client) List(ctx context.Context) (list []Listed, err error) {
	err = c.ask(ctx, opList, args{}, &list)
	return list, err
}

// Report is [Store.Report].
func (c *Client) Report(ctx context.Context) (*Report, error) {
	r := new(Report)
	return r, c.ask(ctx, opReport, args{}, r)
}
