#!/usr/bin/ruby
# Ruby's net-ldap, which pages on its own after a look at supportedControl.
# needs: ruby ruby-net-ldap
require 'net/ldap'
require 'uri'

SUFFIX = ENV.fetch('SUFFIX')
PEOPLE = "ou=people,#{SUFFIX}"

def check(true_, what)
  abort what unless true_
end

def connect(url, dn, password)
  host, port = URI(url).then { |u| [u.host, u.port] }
  tls = { method: url.start_with?('ldaps') ? :simple_tls : :start_tls, tls_options: { ca_file: ENV.fetch('LDAPTLS_CACERT'), verify_mode: OpenSSL::SSL::VERIFY_PEER } }
  Net::LDAP.new(host: host, port: port, base: SUFFIX, encryption: tls, connect_timeout: 180, auth: { method: :simple, username: dn, password: password })
end

def code(ldap, want, what)
  got = ldap.get_operation_result
  check(got.code == want, "#{what}: code #{got.code} (#{got.message}), want #{want}")
end

def attempt(ldap, want, what)
  yield
  code(ldap, want, what)
end

alice = connect(ENV.fetch('LDAP'), ENV.fetch('ALICE'), ENV.fetch('ALICEPW'))
admin = connect(ENV.fetch('LDAPS'), ENV.fetch('ADMIN'), ENV.fetch('ADMINPW'))
check(alice.bind, "bind over StartTLS: #{alice.get_operation_result}")
check(admin.bind, "bind over TLS: #{admin.get_operation_result}")
attempt(connect(ENV.fetch('LDAPS'), ENV.fetch('ALICE'), 'wrong').tap(&:bind), 49, 'a wrong password') {}
root = alice.search_root_dse
check(root[:namingcontexts] == [SUFFIX], 'naming contexts')
check(root[:supportedcontrol].include?(Net::LDAP::LDAPControls::PAGED_RESULTS), 'paged results')
check(alice.paged_searches_supported?, 'paged_searches_supported?')
check(alice.search_subschema_entry[:objectclasses].any? { |c| c.include?("'inetOrgPerson'") }, 'the schema')

# paged_size is what makes net-ldap turn pages.
alice.open do |l|
  found = l.search(filter: Net::LDAP::Filter.pres('uid'), attributes: %w[uid], paged_searches_supported: true)
  check(found.map(&:dn).uniq.size == 13, "#{found.size} people")
  check(l.search(filter: Net::LDAP::Filter.eq('sn', 'Müller')).map { |e| e[:uid].first } == %w[bob], 'a filter in UTF-8')
  check(l.search(filter: Net::LDAP::Filter.equals('uid', '*)(uid=*')).empty?, 'an injected filter finds nothing')
  check(l.search(filter: Net::LDAP::Filter.construct('(&(objectClass=posixAccount)(|(uid=bob)(uid=carol))(!(sn=clark)))')).size == 1, 'and, or, not')
  check(l.search(filter: Net::LDAP::Filter.ex('memberOf:1.2.840.113556.1.4.1941', "cn=staff,ou=groups,#{SUFFIX}")).size >= 12, 'in chain')
  check(l.search(filter: Net::LDAP::Filter.pres('objectClass'), size: 4).to_a.size == 4, 'four of them')
  code(l, 4, 'a size limit')
  # net-ldap 0.17 sends the ordering rule of a sort key as a plain OCTET STRING, without the tag [0] of RFC 2891: slapd refuses it as well.
  l.search(filter: Net::LDAP::Filter.pres('uid'), sort_controls: ['uid'])
  code(l, 2, 'a sort that is none')
  check(l.search(base: PEOPLE, scope: Net::LDAP::SearchScope_BaseObject, attributes: %w[ou]).first[:ou] == %w[people], 'base scope')
  l.search(base: "ou=nowhere,#{SUFFIX}")
  code(l, 32, 'a base that is not there')
end

# bind_as finds the user by a filter and binds as what it found.
service = connect(ENV.fetch('LDAPS'), ENV.fetch('ADMIN'), ENV.fetch('ADMINPW'))
check(service.bind_as(base: PEOPLE, filter: '(uid=alice)', password: ENV.fetch('ALICEPW')), 'bind_as')
check(!service.bind_as(base: PEOPLE, filter: '(uid=alice)', password: 'wrong'), 'bind_as with a wrong password')

dn = "uid=ruby,#{PEOPLE}"
entry = { objectClass: %w[inetOrgPerson], cn: 'Ruby', sn: 'Matz' }
attempt(admin, 0, 'add') { admin.add(dn: dn, attributes: entry) }
attempt(admin, 68, 'add again') { admin.add(dn: dn, attributes: entry) }
attempt(admin, 65, 'no structural class') { admin.add(dn: "cn=x,#{PEOPLE}", attributes: { objectClass: %w[top], cn: 'x' }) }
attempt(admin, 0, 'modify') { admin.modify(dn: dn, operations: [[:add, :mail, %w[ruby@example.org gem@example.org]], [:replace, :sn, 'Matsumoto'], [:delete, :mail, 'gem@example.org']]) }
attempt(admin, 0, 'replace_attribute') { admin.replace_attribute(dn, :title, 'Jewel') }
attempt(admin, 20, 'a value that is there') { admin.add_attribute(dn, :mail, 'RUBY@example.org') }
attempt(admin, 16, 'an attribute that is not there') { admin.delete_attribute(dn, :description) }
attempt(alice, 50, 'somebody without the right') { alice.replace_attribute(dn, :title, 'Mine') }
attempt(admin, 0, 'password') { admin.password_modify(dn: dn, new_password: 'pw of ruby 7', auth: { method: :simple, username: ENV.fetch('ADMIN'), password: ENV.fetch('ADMINPW') }) }
check(connect(ENV.fetch('LDAPS'), dn, 'pw of ruby 7').bind, 'bind with the new password')
attempt(admin, 0, 'rename') { admin.rename(olddn: dn, newrdn: 'uid=crystal', delete_attributes: true, new_superior: "ou=services,#{SUFFIX}") }
attempt(admin, 0, 'delete') { admin.delete(dn: "uid=crystal,ou=services,#{SUFFIX}") }
attempt(admin, 32, 'delete again') { admin.delete(dn: "uid=crystal,ou=services,#{SUFFIX}") }
puts 'ok'
