package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mios"
	"mios/internal/atomicfile"
	"mios/internal/progress"
	"mios/publish/app/setup"
	serverepo "mios/serve/repo"
	"mios/storage/backup"
)

// backupFlags are what both commands share.
type backupFlags struct {
	*flag.FlagSet
	store, repo string
	json        bool
}

func newBackupFlags(e env) *backupFlags {
	f := &backupFlags{FlagSet: flags(e)}
	f.StringVar(&f.store, "store", "store", "`folder` of the store")
	f.StringVar(&f.repo, "repo", "", "`folder` of a repository without a store, instead")
	f.BoolVar(&f.json, "json", false, jsonHelp)
	return f
}

// name is what is backed up or restored.
func (f *backupFlags) name() string {
	if f.repo != "" {
		return "the repository " + f.repo
	}
	return "the store " + f.store
}

// parts opens what is backed up, or where a backup goes.
func (f *backupFlags) parts(ctx context.Context) (*backup.Set, error) {
	set := setup.RepoParts(f.repo)
	if f.repo == "" {
		var err error
		if set, err = setup.Parts(ctx, f.store); err != nil {
			return nil, err
		}
	}
	set.Moves = func(name string) bool { return !serverepo.Immutable(name) }
	return set, nil
}

// backed is what is printed as JSON.
type backed struct {
	File string `json:"file"`
	*backup.Summary
}

func (f *backupFlags) print(e env, verb, file string, s *backup.Summary) error {
	if f.json {
		return printJSON(e, backed{file, s})
	}
	fmt.Fprintf(e.stdout, "%s: %d rows, %d blobs, %d public files, %d of the repository's own, %s\n",
		verb, s.Rows, s.Blobs, s.Files, s.State, progress.Size(s.Bytes))
	return nil
}

var backupCmd = command{"backup", "[flags]", "copy a store, or a repository, into one file\n" +
	"The store may be running: the file has what it was at one moment. Private keys are not in it.",
	func(ctx context.Context, e env, args []string) error {
		f := newBackupFlags(e)
		to := f.String("to", ".", "`file` to write, NAME.tar, or a folder: a file in it that is named by the time")
		if err := parse(f.FlagSet, args, 0, 0); err != nil {
			return err
		}
		file, err := backupFile(*to)
		if err != nil {
			return err
		}
		if f.repo != "" {
			if _, err := os.Stat(filepath.Join(f.repo, "repo.json")); err != nil {
				return fmt.Errorf("repository %s: %w", f.repo, mios.ErrNotFound)
			}
		}
		set, err := f.parts(ctx)
		if err != nil {
			return err
		}
		if set.Records != nil {
			defer set.Records.Close()
			setup.WithConfig(set)
		}
		out, err := atomicfile.Create(file)
		if err != nil {
			return err
		}
		defer out.Close()
		var sum *backup.Summary
		err = e.story(f.json).Step(ctx, "back up "+f.name(), func(ctx context.Context, t *progress.Task) (err error) {
			if sum, err = backup.Write(ctx, out, *set, t); err != nil {
				return err
			}
			return out.Commit(0o600)
		})
		if err != nil {
			return err
		}
		return f.print(e, "wrote "+file, file, sum)
	}}

// backupFile returns the file to write, which is not there yet.
func backupFile(to string) (string, error) {
	fi, err := os.Stat(to)
	switch {
	case err != nil && filepath.Ext(to) == ".tar":
		return to, nil
	case err != nil: // of a folder whose disk is not there, no file becomes
		return "", fmt.Errorf("folder %s: %w: make it, or name a file that ends in .tar", to, mios.ErrNotFound)
	case fi.IsDir():
		return filepath.Join(to, "mios-"+time.Now().UTC().Format("20060102-150405")+".tar"), nil
	}
	return "", fmt.Errorf("%s: %w: it is there already: write to another name", to, mios.ErrConflict)
}

var restoreCmd = command{"restore", "[flags] FILE", "bring a backup into an empty store, or an empty repository\n" +
	"The store.yaml that is in the store's folder says where all goes, such as into another kind of database;\n" +
	"without one, the backup's is taken. Bring the folder of keys back yourself.",
	func(ctx context.Context, e env, args []string) error {
		f := newBackupFlags(e)
		check := f.Bool("check", false, "only verify the backup, and say what is in it")
		if err := parse(f.FlagSet, args, 1, 1); err != nil {
			return err
		}
		in, err := os.Open(f.Arg(0))
		if err != nil {
			return err
		}
		defer in.Close()
		fi, err := in.Stat()
		if err != nil {
			return err
		}
		story := e.story(f.json)
		var a *backup.Archive
		err = story.Step(ctx, "verify "+f.Arg(0), func(ctx context.Context, t *progress.Task) (err error) {
			a, err = backup.Open(ctx, in, fi.Size(), t)
			return err
		})
		switch {
		case errors.Is(err, mios.ErrInvalid):
			return fmt.Errorf("%s: %w: take a whole file that mios backup wrote", f.Arg(0), err)
		case err != nil:
			return err
		case *check:
			return f.print(e, f.Arg(0)+" is whole, of "+a.Summary().Time.UTC().Format("2006-01-02 15:04:05 UTC"), f.Arg(0), a.Summary())
		}
		if f.repo == "" {
			if err := setup.Prepare(f.store, a); err != nil {
				return err
			}
		}
		set, err := f.parts(ctx)
		if err != nil {
			return err
		}
		err = story.Step(ctx, "restore "+f.name(), func(ctx context.Context, t *progress.Task) error {
			return a.Restore(ctx, *set, t)
		})
		if set.Records != nil {
			err = errors.Join(err, set.Records.Close())
		}
		if err != nil {
			return err
		}
		return f.print(e, "restored "+f.name(), f.Arg(0), a.Summary())
	}}
