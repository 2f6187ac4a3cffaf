package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// scene is one thing that is shown: what came of it, and how long the service
// took.
type scene struct {
	what string
	act  func(ctx context.Context) (came string, took time.Duration, err error)
}

// play shows everything in order. The first scenes are needed by all others:
// if one of them fails, that is the end; a later one that fails is told and
// the rest is shown.
func (s *stage) play(ctx context.Context) error {
	fmt.Printf("deployment %s\n\n", s.Deployment)
	for _, sc := range []scene{
		{"wallet.create", s.makeWallet},
		{"account.create", s.makeAccount},
	} {
		came, took, err := sc.act(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.what, err)
		}
		s.rows.add(sc.what, came, took)
	}
	for _, sc := range []scene{
		{"transfer of 0.01 ether", s.smallTransfer},
		{"transfer to a deny-listed address", s.deniedTransfer},
		{"transfer of 2 ether, the approver agrees", s.approvedTransfer},
		{"transfer of 2 ether, the approver refuses", s.refusedTransfer},
		{"ATTACK: injected policy key", s.injectedKey},
		{"ATTACK: approval copied onto another request", s.copiedApproval},
		{"ATTACK: replayed announcement", s.replayedAnnouncement},
		{"transfer of 0.01 ether, signing was just killed", s.smallTransfer},
	} {
		came, took, err := sc.act(ctx)
		if err != nil {
			s.rows.fail(sc.what, err)
			continue
		}
		s.rows.add(sc.what, came, took)
	}
	return ctx.Err()
}

func (s *stage) smallTransfer(ctx context.Context) (string, time.Duration, error) {
	r, took, err := s.send(ctx, friend, small)
	if err != nil {
		return "", 0, err
	}
	return "signed; recovered sender " + s.address.Hex(), took, s.checkSignature(r, friend, small)
}

func (s *stage) deniedTransfer(ctx context.Context) (string, time.Duration, error) {
	r, took, err := s.send(ctx, denied, small)
	if err != nil {
		return "", 0, err
	}
	return "rejected by " + reasons(r), took, want(r, message.StatusRejected)
}

// waiting makes a transfer that waits for people.
func (s *stage) waiting(ctx context.Context) (api.Request, error) {
	r, _, err := s.send(ctx, friend, large)
	if err != nil {
		return r, err
	}
	return r, want(r, message.StatusWaiting)
}

func (s *stage) approvedTransfer(ctx context.Context) (string, time.Duration, error) {
	r, err := s.waiting(ctx)
	if err != nil {
		return "", 0, err
	}
	begin := time.Now()
	r, err = s.decide(ctx, "approve", r.ID)
	if err != nil {
		return "", 0, err
	}
	return "waited; signed; recovered sender " + s.address.Hex(), time.Since(begin), s.checkSignature(r, friend, large)
}

func (s *stage) refusedTransfer(ctx context.Context) (string, time.Duration, error) {
	r, err := s.waiting(ctx)
	if err != nil {
		return "", 0, err
	}
	begin := time.Now()
	r, err = s.decide(ctx, "reject", r.ID)
	if err != nil {
		return "", 0, err
	}
	return "waited; rejected by " + reasons(r), time.Since(begin), want(r, message.StatusRejected)
}

// decide has the approver vote with the command line and waits for the end.
func (s *stage) decide(ctx context.Context, verb, id string) (api.Request, error) {
	if _, err := s.Countersign(ctx, verb, id, "--key", s.ApproverKey); err != nil {
		return api.Request{}, err
	}
	return s.finish(ctx, id)
}

// stillWaiting fails if an attack has moved a request.
func (s *stage) stillWaiting(ctx context.Context, id string) error {
	r, err := s.user.Get(ctx, id)
	if err != nil {
		return err
	}
	if r.Ended() {
		return errors.New("the attack ended the request: " + string(r.Status))
	}
	return nil
}
