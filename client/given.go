package client

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// Errors about what was given. Nothing was sent to the service.
var (
	ErrStatement = errors.New("the statement is not in order")
	// An id is part of the path.
	ErrRequestID = errors.New("not the id of a request")
	ErrWalletID  = errors.New("not the id of a wallet")
)

func checkRequest(id string) error {
	if err := message.CheckRequestID(id); err != nil {
		return fmt.Errorf("%q is %w: %w", id, ErrRequestID, err)
	}
	return nil
}

func checkWallet(id string) error {
	if _, err := message.ParseHash(id); err != nil {
		return fmt.Errorf("%q is %w: %w", id, ErrWalletID, err)
	}
	return nil
}
