package main

import (
	"context"
	"fmt"
	"os/user"
	"strings"
	"time"

	servestore "mios/serve/store"
)

// storeTokenCommands are those on who may use a store's API.
var storeTokenCommands = []command{storeTokenCreate, storeTokenList, storeTokenRevoke}

var storeTokenCreate = command{"store token create", "[flags] NAME SCOPE...", "let somebody use the store's API, and print their secret\n" +
	"SCOPE is upload, review, release, read or admin. The secret is printed once, and kept nowhere.",
	func(ctx context.Context, e env, args []string) error {
		f := newChangeFlags(e)
		var packages []string
		namesVar(f.FlagSet, &packages, "packages", "`list` of the only packages that it is for, separated by commas")
		ttl := f.Duration("ttl", 90*24*time.Hour, "`duration` until it expires; 0: never")
		note := f.String("note", "", "`text` for whoever lists tokens")
		if err := parse(f.FlagSet, args, 2, 20); err != nil {
			return err
		}
		spec := servestore.TokenSpec{Who: f.Arg(0), Note: *note, TTL: *ttl, Packages: packages}
		for _, s := range f.Args()[1:] {
			spec.Scopes = append(spec.Scopes, servestore.Scope(s))
		}
		return f.tokens(ctx, func(ts *servestore.Tokens) error {
			by, err := f.me()
			if err != nil {
				return err
			}
			t, secret, err := ts.Create(ctx, by, spec)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(e, struct {
					*servestore.Token
					Secret string `json:"secret"`
				}{t, secret})
			}
			fmt.Fprintln(e.stdout, secret)
			return nil
		})
	}}

var storeTokenList = command{"store token list", "[flags]", "list who may use the store's API",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		return f.tokens(ctx, func(ts *servestore.Tokens) error {
			list, err := ts.List(ctx)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(e, list)
			}
			w := table(e, "ID\tWHO\tSCOPES\tPACKAGES\tEXPIRES\tUSED\tNOTE")
			for _, t := range list {
				var scopes []string
				for _, s := range t.Scopes {
					scopes = append(scopes, string(s))
				}
				expires := day(t.Expires, "never")
				if t.Revoked != nil {
					expires = "revoked"
				}
				packages := strings.Join(t.Packages, ",")
				if packages == "" {
					packages = "all"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Who, strings.Join(scopes, ","), packages, expires, day(t.Used, "never"), t.Note)
			}
			return w.Flush()
		})
	}}

var storeTokenRevoke = command{"store token revoke", "[flags] ID...", "end tokens at once, in every process",
	func(ctx context.Context, e env, args []string) error {
		f := newStoreFlags(e)
		if err := parse(f.FlagSet, args, 1, 1000); err != nil {
			return err
		}
		return f.tokens(ctx, func(ts *servestore.Tokens) error {
			for _, id := range f.Args() {
				if err := ts.Revoke(ctx, id); err != nil {
					return err
				}
			}
			if f.json {
				return printJSON(e, map[string][]string{"revoked": f.Args()})
			}
			fmt.Fprintf(e.stdout, "revoked %s\n", strings.Join(f.Args(), ", "))
			return nil
		})
	}}

// tokens opens the tokens of the store, for which no key is needed.
func (f *storeFlags) tokens(ctx context.Context, fn func(*servestore.Tokens) error) error {
	s, err := f.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	ts, err := servestore.OpenTokens(ctx, s.DB)
	if err != nil {
		return err
	}
	return fn(ts)
}

// me is who makes the token.
func (f *storeFlags) me() (string, error) {
	if f.who != "" {
		return f.who, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("%w: say who does it with --as: %v", errUsage, err)
	}
	return u.Username, nil
}

// day is a time as a table has it.
func day(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.DateOnly)
}
