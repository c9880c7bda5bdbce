#!/usr/bin/env node
// ldapts, the LDAP client of Node.js that is maintained. NODE_LIBRARIES is where npm put it.
// needs: nodejs npm
// npm: ldapts@8
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const library = createRequire(`${process.env.NODE_LIBRARIES}/x.js`).resolve('ldapts');
const { Client, Change, Attribute, AndFilter, EqualityFilter, SubstringFilter, ServerSideSortingRequestControl, AlreadyExistsError, InvalidCredentialsError, NoSuchObjectError, ObjectClassViolationError } =
  (await import(pathToFileURL(library))).default;

const { SUFFIX: suffix, LDAP, LDAPS, ADMIN, ADMINPW, ALICE, ALICEPW } = process.env;
const people = `ou=people,${suffix}`;
const ca = [readFileSync(process.env.LDAPTLS_CACERT)];

const client = new Client({ url: LDAP, timeout: 180000 });
await client.startTLS({ ca });
await assert.rejects(client.bind(ALICE, 'wrong'), InvalidCredentialsError);
await client.bind(ALICE, ALICEPW);
assert.equal(String((await client.exop('1.3.6.1.4.1.4203.1.11.3')).value), `dn:${ALICE}`);

const other = new Client({ url: LDAPS, tlsOptions: { ca }, timeout: 180000 });
await other.bind(ADMIN, ADMINPW);
const root = await other.search('', { scope: 'base', attributes: ['namingContexts', '+'] });
assert.equal(root.searchEntries[0].namingContexts, suffix);

const paged = await client.search(suffix, { filter: '(uid=*)', paged: { pageSize: 3 }, attributes: ['uid'] });
assert.equal(new Set(paged.searchEntries.map((e) => e.uid)).size, 13);
let pages = 0;
for await (const page of client.searchPaginated(suffix, { filter: '(uid=*)', attributes: ['1.1'], paged: { pageSize: 5 } })) {
  assert.ok(page.searchEntries.length <= 5);
  pages++;
}
assert.equal(pages, 3);
const found = await client.search(suffix, {
  filter: new AndFilter({ filters: [new EqualityFilter({ attribute: 'objectClass', value: 'inetOrgPerson' }), new SubstringFilter({ attribute: 'cn', initial: 'Bob', final: 'ller' })] }),
  attributes: ['cn', 'mail'],
});
assert.deepEqual(found.searchEntries, [{ dn: `uid=bob,${people}`, cn: 'Bob Müller', mail: 'bob@example.org' }]);
const sort = new ServerSideSortingRequestControl({ value: { attributeType: 'uid', reverseOrder: true } });
sort.critical = true;
const sorted = (await client.search(suffix, { filter: '(uid=*)', attributes: ['uid'] }, sort)).searchEntries.map((e) => e.uid);
assert.equal(sorted.length, 13);
assert.deepEqual(sorted, [...sorted].sort().reverse());
const where = (await client.search('', { scope: 'base', attributes: ['subschemaSubentry'] })).searchEntries[0].subschemaSubentry;
const schema = (await client.search(where, { scope: 'base', filter: '(objectClass=subschema)', attributes: ['objectClasses', 'attributeTypes', 'ldapSyntaxes', 'matchingRules'] })).searchEntries[0];
assert.ok(schema.objectClasses.some((d) => d.includes("'inetOrgPerson'") && d.includes('SUP organizationalPerson')));
assert.ok(schema.attributeTypes.some((d) => d.includes("'mail'")) && schema.ldapSyntaxes.length > 20 && schema.matchingRules.length > 20);
const injected = await client.search(suffix, { filter: new EqualityFilter({ attribute: 'uid', value: '*)(uid=*' }) });
assert.equal(injected.searchEntries.length, 0);
// Several requests at once on one connection.
const counts = await Promise.all(Array.from({ length: 20 }, () => client.search(suffix, { filter: '(uid=*)', attributes: ['1.1'] })));
assert.ok(counts.every((r) => r.searchEntries.length === 13));

const dn = `uid=node,${people}`;
const entry = { objectClass: 'inetOrgPerson', cn: 'Node', sn: 'Ryan' };
await other.add(dn, entry);
await assert.rejects(other.add(dn, entry), AlreadyExistsError);
await assert.rejects(other.add(`cn=x,${people}`, { objectClass: 'person' }), ObjectClassViolationError);
await other.modify(dn, [
  new Change({ operation: 'replace', modification: new Attribute({ type: 'title', values: ['Runtime'] }) }),
  new Change({ operation: 'add', modification: new Attribute({ type: 'mail', values: ['node@example.org', 'n@example.org'] }) }),
]);
await other.modify(dn, new Change({ operation: 'delete', modification: new Attribute({ type: 'mail', values: ['n@example.org'] }) }));
assert.equal(await other.compare(dn, 'title', 'RUNTIME'), true);
assert.equal(await other.compare(dn, 'title', 'Library'), false);
await other.modifyDN(dn, `uid=deno,ou=services,${suffix}`);
await other.del(`uid=deno,ou=services,${suffix}`);
await assert.rejects(other.del(`uid=deno,ou=services,${suffix}`), NoSuchObjectError);
await client.unbind();
await other.unbind();
console.log('ok');
