import { useMemo, useState } from 'react'
import { call } from '@/api/client'
import { faultOf } from '@/api/fault'
import { useWhyNot } from '@/api/me'
import { useAct, useAsk, usePages } from '@/api/query'
import type { Member } from '@/api/schema'
import { word } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Confirm } from '@/ui/Confirm'
import { Conflict, isConflict } from '@/ui/Conflict'
import { DataTable, type Column } from '@/ui/DataTable'
import { Dialog } from '@/ui/Dialog'
import { Empty } from '@/ui/Empty'
import { Field, Input, Select } from '@/ui/Field'
import { Ago, Time } from '@/ui/Time'
import { toast } from '@/ui/Toasts'
import { roleNotes, roles } from './roles'

/** Who may sign in with OIDC. */
export function Members({ customer }: { customer: string }) {
  const members = usePages('AccountService/ListMembers', { customer_id: customer, page_size: 200 })
  const options = useAsk('AccountService/GetSignInOptions', {})
  const [editing, setEditing] = useState<Member | 'new'>()
  const [leaving, setLeaving] = useState<Member>()
  const mayNotAdd = useWhyNot('AccountService/CreateMember')
  const mayNotChange = useWhyNot('AccountService/UpdateMember')
  const mayNotRemove = useWhyNot('AccountService/DeleteMember')
  const remove = useAct('AccountService/DeleteMember', { done: 'They are shut out, and their sessions have ended.', changes: ['AccountService/ListMembers'], onDone: () => setLeaving(undefined) })
  const columns = useMemo(() => columnsOf({ edit: setEditing, leave: setLeaving, mayNotChange, mayNotRemove }), [mayNotChange, mayNotRemove])
  const add = (
    <Button kind="primary" icon="plus" whyNot={mayNotAdd ?? (members.error?.unbuilt ? 'This server has no members yet.' : undefined)} onClick={() => setEditing('new')}>
      Add a member
    </Button>
  )
  return (
    <Card
      title="Members"
      note={options.data && !options.data.oidc ? 'Single sign-on is not configured on this server: members cannot sign in yet, API keys can.' : `They sign in with ${options.data?.oidc_name || 'single sign-on'}, by the e-mail address that it vouches for.`}
      actions={add}
      flush
    >
      <DataTable
        label="Members"
        columns={columns}
        rows={members.items}
        rowId={(row) => row.member_id}
        loading={members.isPending}
        fault={members.error}
        retry={() => void members.refetch()}
        more={{ has: members.hasNextPage, loading: members.isFetchingNextPage, load: () => void members.fetchNextPage() }}
        empty={
          <Empty icon="user" title="Nobody is let in yet" action={add}>
            Add people by e-mail address and role. Until then API keys are the only way in.
          </Empty>
        }
      />
      {editing && <MemberDialog member={editing === 'new' ? undefined : editing} customer={customer} onClose={() => setEditing(undefined)} />}
      <Confirm
        open={leaving !== undefined}
        onClose={() => setLeaving(undefined)}
        title={`Shut out ${leaving?.email}?`}
        act="Shut out"
        danger
        busy={remove.isPending}
        blastRadius="Their open sessions end at once. What they did stays in the audit log."
        onAct={() => leaving && remove.mutate({ member_id: leaving.member_id })}
      />
    </Card>
  )
}

function columnsOf({ edit, leave, mayNotChange, mayNotRemove }: { edit: (member: Member) => void; leave: (member: Member) => void; mayNotChange?: string; mayNotRemove?: string }): Column<Member>[] {
  return [
    { id: 'email', header: 'E-mail', cell: (row) => <span className="font-medium">{row.email}</span> },
    { id: 'role', header: 'Role', width: '9rem', cell: (row) => <Badge tone={row.role === 'admin' ? 'accent' : 'plain'}>{word(row.role)}</Badge> },
    { id: 'seen', header: 'Signed in last', width: '10rem', cell: (row) => <Ago at={row.last_seen_at} /> },
    { id: 'since', header: 'Let in', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
    { id: 'by', header: 'By', width: '14rem', cell: (row) => <span className="line-clamp-1 text-sm break-all">{row.created_by}</span> },
    {
      id: 'act',
      header: '',
      align: 'right',
      width: '13rem',
      cell: (row) => (
        <span className="inline-flex gap-1.5">
          <Button small whyNot={mayNotChange} onClick={() => edit(row)} aria-label={`Change the role of ${row.email}`}>
            Change role
          </Button>
          <Button small kind="ghost" icon="trash" label={`Shut out ${row.email}`} whyNot={mayNotRemove} onClick={() => leave(row)} />
        </span>
      ),
    },
  ]
}

function MemberDialog({ member, customer, onClose }: { member?: Member; customer: string; onClose: () => void }) {
  const [email, setEmail] = useState('')
  const [role, setRole] = useState(member?.role ?? 'viewer')
  const [conflict, setConflict] = useState(false)
  const create = useAct('AccountService/CreateMember', { done: (answer) => `${answer.email} may sign in.`, changes: ['AccountService/ListMembers'], onDone: onClose })
  const update = useAct('AccountService/UpdateMember', { done: (answer) => `${answer.email} is ${word(answer.role).toLowerCase()} now, in open sessions too.`, changes: ['AccountService/ListMembers'], onDone: onClose, quiet: true })
  const save = (etag: string) =>
    member &&
    update.mutate({ member_id: member.member_id, role, etag }, { onError: (fault) => (isConflict(fault) ? setConflict(true) : toast.fault(fault)) })
  const overwrite = () =>
    call('AccountService/ListMembers', { customer_id: customer, page_size: 1000 }).then(
      (all) => save(all.find((each) => each.member_id === member?.member_id)?.etag ?? ''),
      (error) => toast.fault(faultOf(error)),
    )
  const whyNot = member ? (role === member.role ? 'The role is the same.' : undefined) : /^\S+@\S+\.\S+$/.test(email.trim()) ? undefined : 'Give an e-mail address.'
  if (conflict) return <Conflict open what={`The role of ${member?.email}`} busy={update.isPending} onClose={onClose} onReload={onClose} onOverwrite={() => void overwrite()} />
  return (
    <Dialog open onClose={onClose} title={member ? `Role of ${member.email}` : 'Add a member'} about={member ? 'It acts on their open sessions at once.' : 'They can sign in from now on; no mail is sent.'}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (whyNot) return
          if (member) save(member.etag)
          else create.mutate({ customer_id: customer, email: email.trim(), role })
        }}
      >
        {!member && <Field label="E-mail">{(ids) => <Input {...ids} type="email" autoFocus autoComplete="off" value={email} onChange={(event) => setEmail(event.target.value)} />}</Field>}
        <Field label="Role" hint={roleNotes[role]}>
          {(ids) => (
            <Select {...ids} value={role} onChange={(event) => setRole(event.target.value)}>
              {roles.map((each) => (
                <option key={each} value={each}>
                  {word(each)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={create.isPending || update.isPending} whyNot={whyNot}>
            {member ? 'Change' : 'Add'}
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
