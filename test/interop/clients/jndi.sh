#!/usr/bin/env bash
# JNDI, the LDAP client of the Java platform.
# needs: default-jdk-headless
set -euo pipefail
work=$(mktemp -d -p "$WORK")
keytool -importcert -noprompt -alias portolan -file "$LDAPTLS_CACERT" -keystore "$work/trust.p12" -storepass changeit 2>/dev/null
exec java -Djavax.net.ssl.trustStore="$work/trust.p12" -Djavax.net.ssl.trustStorePassword=changeit "$(dirname "$0")/../java/Jndi.java"
