package activation

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
)

// unpublished says that a list's file is not there yet, and how it gets there.
type unpublished struct {
	file document.File
	error
}

func (e unpublished) Error() string {
	return "its file " + e.file.SHA256 + " is not published: an operator pushes the document with it (countersign policy push, --list FILE)"
}

func (e unpublished) Unwrap() error { return e.error }

// errNoFiles says that a service that looks accounts up does not know where the
// files are.
var errNoFiles = errors.New("the document names files of lists, and this service reads none")

// activate makes the newest accepted document that can be used the active one.
// One whose files are not there is tried again, one that fails its check is not.
func (h *Holder) activate(ctx context.Context) {
	waiting := h.waiting
	h.waiting = nil
	for i := len(waiting) - 1; i >= 0; i-- {
		a := waiting[i]
		if err := h.equip(ctx, a); err != nil {
			h.complain(a, err)
			h.waiting = append([]*document.Active{a}, h.waiting...)
			continue
		}
		if h.check != nil {
			if err := h.check(a); err != nil {
				h.log.Error("signed policy document cannot be used", "version", a.Version, "error", err)
				continue
			}
		}
		h.use(a)
		break
	}
}

// complain logs what is not there once, not at every poll.
func (h *Holder) complain(a *document.Active, err error) {
	if text := a.Ref.Hash.String() + err.Error(); text != h.said {
		h.said = text
		h.log.Error("policy document waits for the files of its lists", "version", a.Version, "error", err)
	}
}

func (h *Holder) use(a *document.Active) {
	h.mu.Lock()
	h.active = a
	h.mu.Unlock()
	h.said, h.fetched = "", maps.Clone(a.Files())
	if h.fetched == nil {
		h.fetched = document.Lists{}
	}
	if a.Expired(h.now()) {
		return // Active says so
	}
	h.log.Info("policy document activated", "version", a.Version, "hash", a.Ref.Hash.String())
}

// equip attaches the files that a document names.
func (h *Holder) equip(ctx context.Context, a *document.Active) error {
	files := document.Lists{}
	for _, l := range a.Lists {
		if l.File == nil {
			continue
		}
		if h.files == nil {
			if h.check != nil {
				return errNoFiles
			}
			return nil
		}
		file, err := h.file(ctx, *l.File)
		if err != nil {
			return fmt.Errorf("list %s: %w", l.ID, err)
		}
		files[l.File.SHA256] = file
	}
	return a.Attach(files)
}

// file returns a list's file, which is read once for all documents that name it
// in a row.
func (h *Holder) file(ctx context.Context, f document.File) (*document.ListFile, error) {
	if known := h.fetched[f.SHA256]; known != nil {
		return known, nil
	}
	n, err := h.files.Notice(ctx, queue.TopicList, f.SHA256)
	switch {
	case errors.Is(err, queue.ErrNoNotice):
		return nil, unpublished{f, err}
	case err != nil:
		return nil, err
	}
	file, err := document.ReadList(n.Body)
	if err != nil {
		return nil, err
	}
	if file.SHA256() == f.SHA256 { // another one is refused where it is attached
		h.fetched[f.SHA256] = file
	}
	return file, nil
}
