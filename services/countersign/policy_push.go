package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
)

func (a *app) policyPush() *cobra.Command {
	var path string
	var signatures, lists []string
	c := &cobra.Command{
		Use:   "push FILE --signature FILE... --config FILE [--list FILE...]",
		Short: "Publish a policy document that enough admins have signed",
		Long: `Publish a policy document that enough admins have signed, behind the files of
its lists. A file that was published before need not be given again.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := push(cmd.Context(), path, args[0], signatures, lists)
			if err != nil {
				return err
			}
			return a.show(v, v.human)
		},
	}
	c.Flags().StringArrayVar(&signatures, "signature", nil, "an admin's signature file; give it once for each admin")
	c.Flags().StringArrayVar(&lists, "list", nil, "a list's file that the document names by its SHA-256; give it once for each file")
	c.Flags().StringVar(&path, "config", "", "the operator's configuration file")
	return require(c, "signature", "config")
}

func push(ctx context.Context, operator, path string, signatureFiles, listFiles []string) (policyView, error) {
	cfg, d, err := openOperator(operator)
	if err != nil {
		return policyView{}, err
	}
	raw, v, err := readPolicy(path, cfg.Genesis)
	if err != nil {
		return v, err
	}
	bundle, err := readSignatures(raw, signatureFiles)
	if err != nil {
		return v, err
	}
	files, err := readLists(listFiles)
	if err != nil {
		return v, err
	}
	dbConfig, err := d.Database(cfg.Database)
	if err != nil {
		return v, err
	}
	db, err := database.Open(dbConfig)
	if err != nil {
		return v, err
	}
	defer db.Close()
	p := publisher{deployment: d, queue: queue.New(db, dbConfig, d.Log), files: files}
	v.Signatures = len(bundle.Signatures)
	v.Lists, err = p.publish(ctx, bundle)
	return v, err
}

func readSignatures(raw []byte, files []string) (message.PolicyBundle, error) {
	bundle := message.PolicyBundle{Document: raw}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return bundle, advise(err, "name a file that countersign policy sign has written: --signature FILE")
		}
		bundle.Signatures = append(bundle.Signatures, strings.TrimSpace(string(b)))
	}
	return bundle, nil
}

// readLists returns the files by digest.
func readLists(paths []string) (map[string]listText, error) {
	out := map[string]listText{}
	for _, path := range paths {
		text, err := readList(path)
		if err != nil {
			return nil, err
		}
		out[text.file.SHA256()] = text
	}
	return out, nil
}

// publisher writes what the services would take, and nothing else.
type publisher struct {
	deployment *boot.Deployment
	queue      *queue.Queue
	files      map[string]listText
}

// publish says how many files the document has.
func (p publisher) publish(ctx context.Context, bundle message.PolicyBundle) (int, error) {
	active, err := p.verify(ctx, bundle)
	if err != nil {
		return 0, err
	}
	attached, err := p.lists(ctx, active)
	if err != nil {
		return 0, err
	}
	// A document that the roles cannot use would stop all of them.
	if err := judge.New(message.RoleFraud, nil).Check(active); err != nil {
		return 0, advise(err, "mend the rules and have the document signed again; see: countersign policy check")
	}
	for digest, text := range p.files {
		if err := p.write(ctx, queue.TopicList, digest, text.raw); err != nil {
			return 0, err
		}
	}
	body, err := message.Encode(bundle)
	if err != nil {
		return 0, err
	}
	return attached, p.write(ctx, queue.TopicPolicy, message.Sum(body).String(), body)
}

// verify reads the documents that are there as a service does, for they say who
// must sign the next.
func (p publisher) verify(ctx context.Context, bundle message.PolicyBundle) (*document.Active, error) {
	d := p.deployment
	holder := activation.New(d.Genesis, d.ID, p.queue, nil)
	if _, err := holder.Refresh(ctx); err != nil {
		return nil, adviseDatabase(err)
	}
	newest, quorum := holder.Newest(), holder.Quorum()
	version, err := document.VersionOf(bundle.Document)
	switch {
	case err != nil:
		return nil, err
	case newest.Hash == message.Sum(bundle.Document): // it is published, and the admins in force are those after it
		quorum = holder.Signers()
	case version <= newest.Version: // an older one rests on other admins, which would be the fault that is told
		return nil, advise(fmt.Errorf("version %d is not above version %d, which is published", version, newest.Version),
			"raise the version, and have it signed again")
	}
	active, err := document.VerifySuccessor(bundle, quorum, d.Genesis, d.ID)
	switch {
	case errors.Is(err, document.ErrNoAdmins):
		return nil, advise(err, adviceNoAdmins)
	case err != nil:
		return nil, advise(err, "collect signatures of %d different admins in force over exactly these bytes, and of as many of those whom the document names as its threshold says: countersign policy sign", quorum.Threshold)
	}
	if active.Expired(time.Now()) {
		return nil, advise(errors.New("the document has expired"), "write a later expires, and have it signed again")
	}
	return active, nil
}

// lists checks that each file that the document names is given or published, and
// that no other is given.
func (p publisher) lists(ctx context.Context, active *document.Active) (int, error) {
	if err := p.unnamed(active); err != nil {
		return 0, err
	}
	files := document.Lists{}
	for _, l := range active.Lists {
		if l.File == nil {
			continue
		}
		file, err := p.list(ctx, l)
		if err != nil {
			return 0, err
		}
		files[l.File.SHA256] = file
	}
	return len(files), advise(active.Attach(files), "give the files that the admins have signed for, or correct the document and have it signed again")
}

// unnamed refuses a file that is given and that no list names: mostly it is
// another one than was meant, which says more than that one is missing.
func (p publisher) unnamed(active *document.Active) error {
	for _, digest := range slices.Sorted(maps.Keys(p.files)) {
		if !namesFile(active.Document, digest) {
			return advise(fmt.Errorf("%s: no list of the document has the SHA-256 %s", p.files[digest].path, digest),
				"give the files that the admins have signed for, and no others%s", wantedFiles(active.Lists))
		}
	}
	return nil
}

// wantedFiles says which files lists name, behind a colon.
func wantedFiles(lists []document.List) string {
	var out []string
	for _, l := range lists {
		if l.File != nil {
			out = append(out, wants(l))
		}
	}
	if out == nil {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

func (p publisher) list(ctx context.Context, l document.List) (*document.ListFile, error) {
	if given, ok := p.files[l.File.SHA256]; ok {
		return given.file, nil
	}
	n, err := p.queue.Notice(ctx, queue.TopicList, l.File.SHA256)
	switch {
	case errors.Is(err, queue.ErrNoNotice):
		return nil, advise(fmt.Errorf("list %s: its file %s is neither given nor published", l.ID, l.File.SHA256), "give it: --list FILE")
	case err != nil:
		return nil, adviseDatabase(err)
	}
	file, err := document.ReadList(n.Body)
	if err != nil {
		return nil, advise(fmt.Errorf("list %s: the file that is published: %w", l.ID, err), "give it: --list FILE")
	}
	return file, nil
}

func (p publisher) write(ctx context.Context, topic, key string, body []byte) error {
	err := p.queue.Publish(ctx, queue.Notice{Topic: topic, Key: key, Sender: secrets.ServiceOperator, Body: body})
	if errors.Is(err, queue.ErrKeyTaken) {
		return advise(err, "what is published there was altered: have the database's owner delete that row, and find out who it was")
	}
	return adviseDatabase(err)
}
