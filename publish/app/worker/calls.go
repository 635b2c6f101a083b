package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mios"
	"mios/internal/readat"
	"mios/publish/app/check"
	"mios/publish/app/listing"
	"mios/publish/app/report"
)

// tasks are what a child can be asked for.
var tasks = map[string]func(ctx context.Context, req *request, files []File) (any, error){
	taskInspect: inspect,
	taskConvert: convert,
}

const (
	taskInspect = "inspect"
	taskConvert = "convert"
)

// Inspect is [check.Inspect] in a child. What the files are to blame for, a
// child that died over them included, wraps mios.ErrInvalid.
func (w *Worker) Inspect(ctx context.Context, files []File) (*check.Facts, error) {
	facts := new(check.Facts)
	if err := w.run(ctx, taskInspect, "", files, facts); err != nil {
		return nil, err
	}
	if err := facts.Valid(len(files)); err != nil {
		return nil, (&request{Task: taskInspect}).unreadable("the process that read it gave no answer: %v", err)
	}
	return facts, nil
}

func inspect(ctx context.Context, _ *request, files []File) (any, error) {
	list := make([]report.Package, len(files))
	for i, f := range files {
		list[i] = report.Package{ReaderAt: f, Name: f.Name, Size: f.Size}
	}
	return check.Inspect(ctx, list)
}

// Convert is [listing.Convert] in a child. It is a [listing.Converter].
func (w *Worker) Convert(ctx context.Context, in []byte, kind listing.Kind) ([]listing.Picture, error) {
	if len(in) > listing.MaxPicture {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(in), listing.MaxPicture, mios.ErrInvalid)
	}
	var list []listing.Picture
	file := File{ReaderAt: bytes.NewReader(in), Name: "picture", Size: int64(len(in))}
	if err := w.run(ctx, taskConvert, string(kind), []File{file}, &list); err != nil {
		return nil, err
	}
	for i := range list {
		if err := list[i].Valid(); err != nil {
			return nil, (&request{Task: taskConvert}).unreadable("the process that read it gave no answer: %v", err)
		}
	}
	if len(list) == 0 {
		return nil, (&request{Task: taskConvert}).unreadable("the process that read it gave no answer: no picture")
	}
	return list, nil
}

func convert(ctx context.Context, req *request, files []File) (any, error) {
	if len(files) != 1 || files[0].Size > listing.MaxPicture {
		return nil, errors.New("a picture is one file")
	}
	b := make([]byte, files[0].Size)
	if err := readat.Full(files[0], b, 0); err != nil {
		return nil, err
	}
	return listing.Convert(ctx, b, listing.Kind(req.Kind))
}
