package app

import (
	"cmp"
	"context"
	"slices"

	"portolan/internal/op"
)

// Numbers of the verbs about credentials beside the password.
const (
	numberAddAppPassword = 40 + iota
	numberAppPasswords
	numberRevokeAppPasswords
	numberAddToken
	numberConfirmToken
	numberRecoveryCodes
	numberFactors
	numberRemoveFactors
)

func sortBy[T any](list []T, key func(*T) string) {
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(key(&a), key(&b)) })
}

// otpVerbs are the verbs about second factors as extended operations of the control socket.
func (a *Admin) otpVerbs() []op.Extended {
	return []op.Extended{
		served(numberAddToken, "otp add", func(ctx context.Context, args OTPToken, _ *output) (*OTPMade, error) { return a.AddToken(ctx, args) }),
		served(numberConfirmToken, "otp confirm", func(ctx context.Context, args OTPConfirmation, _ *output) (done, error) {
			return done{}, a.ConfirmToken(ctx, args)
		}),
		served(numberRecoveryCodes, "otp recovery", func(ctx context.Context, args accountArgs, _ *output) (*OTPMade, error) {
			return a.RecoveryCodes(ctx, args.DN)
		}),
		served(numberFactors, "otp list", func(ctx context.Context, args accountArgs, _ *output) ([]OTPFactor, error) {
			return a.Factors(ctx, args.DN)
		}),
		served(numberRemoveFactors, "otp remove", func(ctx context.Context, args CredentialRemoval, _ *output) (*CredentialsRemoved, error) {
			return a.RemoveFactors(ctx, args)
		}),
	}
}

// AddToken implements Verbs.
func (f *offline) AddToken(ctx context.Context, t OTPToken) (*OTPMade, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.AddToken(ctx, t)
}

// ConfirmToken implements Verbs.
func (f *offline) ConfirmToken(ctx context.Context, c OTPConfirmation) error {
	a, err := f.open(true)
	if err != nil {
		return err
	}
	return a.ConfirmToken(ctx, c)
}

// RecoveryCodes implements Verbs.
func (f *offline) RecoveryCodes(ctx context.Context, account string) (*OTPMade, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.RecoveryCodes(ctx, account)
}

// Factors implements Verbs.
func (f *offline) Factors(ctx context.Context, account string) ([]OTPFactor, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Factors(ctx, account)
}

// RemoveFactors implements Verbs.
func (f *offline) RemoveFactors(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.RemoveFactors(ctx, r)
}

// AddToken implements Verbs.
func (r *remote) AddToken(ctx context.Context, t OTPToken) (*OTPMade, error) {
	return ask[*OTPMade](ctx, r, numberAddToken, t, output{})
}

// ConfirmToken implements Verbs.
func (r *remote) ConfirmToken(ctx context.Context, c OTPConfirmation) error {
	_, err := ask[done](ctx, r, numberConfirmToken, c, output{})
	return err
}

// RecoveryCodes implements Verbs.
func (r *remote) RecoveryCodes(ctx context.Context, account string) (*OTPMade, error) {
	return ask[*OTPMade](ctx, r, numberRecoveryCodes, accountArgs{account}, output{})
}

// Factors implements Verbs.
func (r *remote) Factors(ctx context.Context, account string) ([]OTPFactor, error) {
	return ask[[]OTPFactor](ctx, r, numberFactors, accountArgs{account}, output{})
}

// RemoveFactors implements Verbs.
func (r *remote) RemoveFactors(ctx context.Context, removal CredentialRemoval) (*CredentialsRemoved, error) {
	return ask[*CredentialsRemoved](ctx, r, numberRemoveFactors, removal, output{})
}
