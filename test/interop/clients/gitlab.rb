#!/usr/bin/ruby
# What GitLab asks of a directory, with net-ldap as it does, and the settings of docs/recipes/gitlab.md.
# needs: ruby ruby-net-ldap
require 'net/ldap'
require 'uri'

def check(true_, what)
  abort what unless true_
end

def password(uid)
  File.foreach(ENV.fetch('PASSWORDS'), chomp: true).map { |l| l.split("\t") }.to_h.fetch("uid=#{uid},ou=people,#{ENV.fetch('SUFFIX')}")
end

# The recipe is Ruby, as GitLab's file is.
text = File.read('docs/recipes/gitlab.md')[%r{`/etc/gitlab/gitlab.rb`:\n\n```\n(.*?)^```}m, 1]
gitlab_rails = {}
binding.eval(text)
C = gitlab_rails.fetch('ldap_servers').fetch('main')
check(C['host'] == 'ldap.example.org' && C['port'] == 636 && C['password'] == 'THE-PASSWORD', 'the recipe has other blanks to fill in')

def connect(url, dn, password, ca)
  u = URI(url)
  Net::LDAP.new(host: u.host, port: u.port, base: C['base'],
                encryption: { method: C['encryption'].to_sym, tls_options: { ca_file: ca, verify_mode: OpenSSL::SSL::VERIFY_PEER } },
                connect_timeout: 180, auth: { method: :simple, username: dn, password: password })
end

# An account of its own for the service, made by the administrator.
ca = ENV.fetch('LDAPTLS_CACERT')
secret = 'a secret of gitlab 7'
admin = connect(ENV.fetch('LDAPS'), ENV.fetch('ADMIN'), ENV.fetch('ADMINPW'), ca)
admin.delete(dn: C['bind_dn'])
admin.add(dn: C['bind_dn'], attributes: { objectClass: %w[applicationProcess simpleSecurityObject], cn: 'git', userPassword: secret })
check(admin.get_operation_result.code.zero?, "the service account: #{admin.get_operation_result}")
at_exit { admin.delete(dn: C['bind_dn']) }

service = connect(ENV.fetch('LDAPS'), C['bind_dn'], secret, ca)
check(service.bind, "bind as the service: #{service.get_operation_result}")

# The login: the user is found by a filter, and the password tried on the same connection.
ALLOWED = Net::LDAP::Filter.construct(C['user_filter'])
def login(service, name, password)
  filter = Net::LDAP::Filter.join(Net::LDAP::Filter.equals(C['uid'], name), ALLOWED)
  service.bind_as(filter: filter, size: 1, password: password)
end
alice = login(service, 'alice', ENV.fetch('ALICEPW'))
check(alice && alice.first.dn == ENV.fetch('ALICE'), 'a member logs in')
check(login(service, 'frank', password('frank')), 'a member of a group in a group in the group')
check(!login(service, 'alice', 'wrong'), 'a wrong password')
check(!login(service, 'alice', ''), 'an empty password')
check(!login(service, 'mallory', password('mallory')), 'somebody who is in none of the groups')
check(!login(service, '*', ENV.fetch('ALICEPW')), 'a star')
check(!login(service, 'alice)(uid=*', ENV.fetch('ALICEPW')), 'an injected name')

# The check of each hour: is the entry of this DN still one that may?
wanted = %w[dn uid cn mail givenName sn]
def ask(service, **options)
  found = service.search(**options)
  result = service.get_operation_result
  check(result.code.zero?, "#{options}: #{result}")
  found
end
user = ask(service, base: ENV.fetch('ALICE'), scope: Net::LDAP::SearchScope_BaseObject, filter: ALLOWED, attributes: wanted, size: 1).first
C['attributes'].each_value { |a| check(!user[a].first.to_s.empty?, "alice has no #{a}") }
check(ask(service, base: ENV.fetch('ALICE').sub('alice', 'mallory'), scope: Net::LDAP::SearchScope_BaseObject, filter: ALLOWED, attributes: %w[dn]).empty?, 'mallory may not')
# With active_directory it asks for a bit of an attribute that only Active Directory has: nobody has it.
disabled = Net::LDAP::Filter.ex('userAccountControl:1.2.840.113556.1.4.803', '2')
check(ask(service, base: ENV.fetch('ALICE'), scope: Net::LDAP::SearchScope_BaseObject, filter: disabled, attributes: %w[dn]).empty?, 'a bit of an unknown attribute')

# gitlab:ldap:check lists people; group sync reads groups.
people = ask(service, base: C['base'], filter: ALLOWED, attributes: wanted, size: 100)
check(people.map { |e| e[:uid].first }.include?('trent') && people.none? { |e| e[:uid].first == 'mallory' }, "the people who may: #{people.map(&:dn)}")
groups = ask(service, base: "ou=groups,#{ENV.fetch('SUFFIX')}", filter: Net::LDAP::Filter.eq('cn', 'engineers'), attributes: %w[dn cn member memberuid uniquemember gidnumber])
check(groups.size == 1 && groups.first[:member].include?(ENV.fetch('ALICE')), 'the members of a group')
puts 'ok'
