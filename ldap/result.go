package ldap

import (
	"errors"
	"fmt"
)

// ResultCode is the resultCode of RFC 4511 section 4.1.9 and appendix A, and of the documents named beside a value.
type ResultCode int32

// Result codes.
const (
	Success                      ResultCode = 0
	OperationsError              ResultCode = 1
	ProtocolError                ResultCode = 2
	TimeLimitExceeded            ResultCode = 3
	SizeLimitExceeded            ResultCode = 4
	CompareFalse                 ResultCode = 5
	CompareTrue                  ResultCode = 6
	AuthMethodNotSupported       ResultCode = 7
	StrongerAuthRequired         ResultCode = 8
	Referral                     ResultCode = 10
	AdminLimitExceeded           ResultCode = 11
	UnavailableCriticalExtension ResultCode = 12
	ConfidentialityRequired      ResultCode = 13
	SASLBindInProgress           ResultCode = 14
	NoSuchAttribute              ResultCode = 16
	UndefinedAttributeType       ResultCode = 17
	InappropriateMatching        ResultCode = 18
	ConstraintViolation          ResultCode = 19
	AttributeOrValueExists       ResultCode = 20
	InvalidAttributeSyntax       ResultCode = 21
	NoSuchObject                 ResultCode = 32
	AliasProblem                 ResultCode = 33
	InvalidDNSyntax              ResultCode = 34
	AliasDereferencingProblem    ResultCode = 36
	InappropriateAuthentication  ResultCode = 48
	InvalidCredentials           ResultCode = 49
	InsufficientAccessRights     ResultCode = 50
	Busy                         ResultCode = 51
	Unavailable                  ResultCode = 52
	UnwillingToPerform           ResultCode = 53
	LoopDetect                   ResultCode = 54
	SortControlMissing           ResultCode = 60 // draft-ietf-ldapext-ldapv3-vlv
	OffsetRangeError             ResultCode = 61 // draft-ietf-ldapext-ldapv3-vlv
	NamingViolation              ResultCode = 64
	ObjectClassViolation         ResultCode = 65
	NotAllowedOnNonLeaf          ResultCode = 66
	NotAllowedOnRDN              ResultCode = 67
	EntryAlreadyExists           ResultCode = 68
	ObjectClassModsProhibited    ResultCode = 69
	AffectsMultipleDSAs          ResultCode = 71
	VLVError                     ResultCode = 76 // draft-ietf-ldapext-ldapv3-vlv
	Other                        ResultCode = 80
	Canceled                     ResultCode = 118   // RFC 3909
	NoSuchOperation              ResultCode = 119   // RFC 3909
	TooLate                      ResultCode = 120   // RFC 3909
	CannotCancel                 ResultCode = 121   // RFC 3909
	AssertionFailed              ResultCode = 122   // RFC 4528
	AuthorizationDenied          ResultCode = 123   // RFC 4370
	SyncRefreshRequired          ResultCode = 4096  // RFC 4533
	NoOperation                  ResultCode = 16654 // draft-zeilenga-ldap-noop
)

// Result is the LDAPResult part of a response (RFC 4511 section 4.1.9).
type Result struct {
	Code       ResultCode
	MatchedDN  string
	Diagnostic string
	Referrals  []string // only with Code Referral
}

// Error is the one error that reaches a client. Everything in it but Cause is sent; Cause is for the log only, so what
// must not be disclosed goes there.
type Error struct {
	Result
	Cause error
}

// Errorf returns an *Error with this code and diagnostic.
func Errorf(code ResultCode, format string, args ...any) *Error {
	return &Error{Result: Result{Code: code, Diagnostic: fmt.Sprintf(format, args...)}}
}

// Because returns the error with a cause for the log.
func (e *Error) Because(cause error) *Error {
	e.Cause = cause
	return e
}

func (e *Error) Error() string {
	s := e.Code.String()
	if e.Diagnostic != "" {
		s += ": " + e.Diagnostic
	}
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// AsError maps any error to what a client may see: nil stays nil, an *Error in the chain is itself, and everything else
// is other (80) without a word of the cause.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(Other, "internal error; the server's log says more").Because(err)
}

// CodeOf returns the result code that AsError would send; Success for nil.
func CodeOf(err error) ResultCode {
	if e := AsError(err); e != nil {
		return e.Code
	}
	return Success
}
