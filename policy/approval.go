package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
)

// approvalLifetime is how long an approval or rejection may be used: the most
// that a receiver accepts, so that a slow signing service need not ask again.
const approvalLifetime = 10 * time.Minute

// errNoEpoch says that no epoch is live that this role announced its key to.
var errNoEpoch = errors.New("no live epoch")

// reply signs the decision on an item for the live epochs. The bytes depend
// on the item, the epochs and the request's time only: sealing is
// deterministic.
func (s *Service) reply(it *item, epochs []*link) (*queue.Reply, error) {
	approve := it.decision.Verdict == Approve && !it.dry()
	all, err := s.sealAll(it, approve, epochs)
	if err != nil {
		return nil, err
	}
	a := s.approval(it)
	attachment := message.Attachment{Shares: all, Evidence: []string{}}
	if approve {
		attachment.Evidence = append(attachment.Evidence, it.decision.Evidence...)
	}
	for _, vote := range attachment.Evidence {
		a.Evidence = append(a.Evidence, message.Sum([]byte(vote)))
	}
	r := &queue.Reply{Sender: s.cfg.Role, Decisive: it.final()}
	for _, shares := range all {
		hash, err := shares.Hash()
		if err != nil {
			return nil, err
		}
		a.Epochs = append(a.Epochs, message.EpochShares{Epoch: shares.Epoch, Shares: hash})
		r.Epochs = append(r.Epochs, shares.Epoch)
	}
	if r.Body, err = message.SignEd25519(message.TypApproval, s.kid, s.key, a); err != nil {
		return nil, err
	}
	if r.Attachment, err = message.Encode(attachment); err != nil {
		return nil, err
	}
	if len(r.Attachment) > message.MaxSize {
		return nil, fmt.Errorf("attachment has %d bytes, more than %d", len(r.Attachment), message.MaxSize)
	}
	return r, nil
}

// approval fills in everything but the epochs and the evidence.
func (s *Service) approval(it *item) message.Approval {
	r, m := it.request, it.request.Meaning
	a := message.Approval{
		Origin: s.origin(s.cfg.Keyring.Generation()),
		Role:   s.cfg.Role, Instance: s.instance,
		Request: it.task.Request.String(), Envelope: r.EnvelopeHash,
		Kind: m.Statement.Kind, Wallet: m.Wallet, Account: m.Account,
		Descriptor: m.Descriptor, Digests: m.Digests,
		Decision: it.says(), Reasons: it.decision.Reasons,
		Policy: r.Policy.Ref, Evidence: []message.Hash{},
		Issued: message.At(r.Now), Expires: message.At(r.Now.Add(approvalLifetime)),
		Epochs: []message.EpochShares{},
	}
	if !it.final() && m.Statement.Expires.Before(a.Expires.Time) {
		a.Expires = m.Statement.Expires
	}
	return a
}

// sealAll seals the shares for each epoch. An epoch whose channel was wiped
// meanwhile is left out; without any there is nothing to say.
func (s *Service) sealAll(it *item, approve bool, epochs []*link) ([]message.Shares, error) {
	shares := map[transaction.Release]*secrets.Secret{}
	defer func() {
		for _, share := range shares {
			share.Wipe()
		}
	}()
	var out []message.Shares
	for _, e := range epochs {
		sealed := []message.SealedShare{}
		if approve {
			var err error
			sealed, err = s.seal(it, e, shares)
			if errors.Is(err, hpkeshare.ErrWiped) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, message.Shares{Epoch: e.epoch, Shares: sealed})
	}
	if len(out) == 0 {
		return nil, errNoEpoch
	}
	return out, nil
}

// seal seals the shares of what an approved request opens, for one epoch.
func (s *Service) seal(it *item, e *link, shares map[transaction.Release]*secrets.Secret) ([]message.SealedShare, error) {
	sealed := []message.SealedShare{}
	for _, release := range it.request.Meaning.Releases {
		share, err := s.share(release, shares)
		if err != nil {
			return nil, err
		}
		b, err := e.channel.Seal(hpkeshare.ShareContext{
			Request: it.task.Request.String(), Envelope: it.request.EnvelopeHash, Role: s.cfg.Role,
			Scope: release.Scope, ID: release.ID, Generation: release.Generation,
		}, share)
		if err != nil {
			return nil, err
		}
		sealed = append(sealed, message.SealedShare{
			Scope: release.Scope, ID: release.ID, Generation: release.Generation, Sealed: b,
		})
	}
	return sealed, nil
}

// share derives a share once for all epochs of one reply.
func (s *Service) share(release transaction.Release, known map[transaction.Release]*secrets.Secret) (*secrets.Secret, error) {
	if share := known[release]; share != nil {
		return share, nil
	}
	key, err := s.shareKey(release.Generation)
	if err != nil {
		return nil, err
	}
	share, err := secrets.NewShare(key, release.Scope, release.ID)
	if err != nil {
		return nil, err
	}
	known[release] = share
	return share, nil
}

func (s *Service) shareKey(generation int) (*secrets.Secret, error) {
	return s.cfg.Keyring.Key(secrets.Share(s.cfg.Role), generation)
}
