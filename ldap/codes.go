package ldap

import "strconv"

// String returns the name that the defining document gives the code, such as "noSuchObject" (RFC 4511 appendix A), and
// "resultCode(123)" for a code that is not known here.
func (c ResultCode) String() string {
	if name := c.name(); name != "" {
		return name
	}
	return "resultCode(" + strconv.FormatInt(int64(c), 10) + ")"
}

func (c ResultCode) name() string {
	switch c {
	case Success:
		return "success"
	case OperationsError:
		return "operationsError"
	case ProtocolError:
		return "protocolError"
	case TimeLimitExceeded:
		return "timeLimitExceeded"
	case SizeLimitExceeded:
		return "sizeLimitExceeded"
	case CompareFalse:
		return "compareFalse"
	case CompareTrue:
		return "compareTrue"
	case AuthMethodNotSupported:
		return "authMethodNotSupported"
	case StrongerAuthRequired:
		return "strongerAuthRequired"
	case Referral:
		return "referral"
	case AdminLimitExceeded:
		return "adminLimitExceeded"
	case UnavailableCriticalExtension:
		return "unavailableCriticalExtension"
	case ConfidentialityRequired:
		return "confidentialityRequired"
	case SASLBindInProgress:
		return "saslBindInProgress"
	case NoSuchAttribute:
		return "noSuchAttribute"
	case UndefinedAttributeType:
		return "undefinedAttributeType"
	case InappropriateMatching:
		return "inappropriateMatching"
	case ConstraintViolation:
		return "constraintViolation"
	case AttributeOrValueExists:
		return "attributeOrValueExists"
	case InvalidAttributeSyntax:
		return "invalidAttributeSyntax"
	case NoSuchObject:
		return "noSuchObject"
	case AliasProblem:
		return "aliasProblem"
	case InvalidDNSyntax:
		return "invalidDNSyntax"
	case AliasDereferencingProblem:
		return "aliasDereferencingProblem"
	case InappropriateAuthentication:
		return "inappropriateAuthentication"
	case InvalidCredentials:
		return "invalidCredentials"
	case InsufficientAccessRights:
		return "insufficientAccessRights"
	case Busy:
		return "busy"
	case Unavailable:
		return "unavailable"
	case UnwillingToPerform:
		return "unwillingToPerform"
	case LoopDetect:
		return "loopDetect"
	case SortControlMissing:
		return "sortControlMissing"
	case OffsetRangeError:
		return "offsetRangeError"
	case NamingViolation:
		return "namingViolation"
	case ObjectClassViolation:
		return "objectClassViolation"
	case NotAllowedOnNonLeaf:
		return "notAllowedOnNonLeaf"
	case NotAllowedOnRDN:
		return "notAllowedOnRDN"
	case EntryAlreadyExists:
		return "entryAlreadyExists"
	case ObjectClassModsProhibited:
		return "objectClassModsProhibited"
	case AffectsMultipleDSAs:
		return "affectsMultipleDSAs"
	case VLVError:
		return "virtualListViewError"
	case Other:
		return "other"
	case Canceled:
		return "canceled"
	case NoSuchOperation:
		return "noSuchOperation"
	case TooLate:
		return "tooLate"
	case CannotCancel:
		return "cannotCancel"
	case AssertionFailed:
		return "assertionFailed"
	case AuthorizationDenied:
		return "authorizationDenied"
	case SyncRefreshRequired:
		return "e-syncRefreshRequired"
	case NoOperation:
		return "noOperation"
	}
	return ""
}
