// SPDX-License-Identifier: GPL-2.0-only
/*
 * A client of the powercap framework that registers whatever it is told to, with any set of callbacks.
 *
 * /proc/raplica/framework  write: one command, see obey(); read: the callbacks that were called since the last command
 *
 * A command fails with the framework's own errno; EBADMSG is this module's, for a command that makes no sense.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "raplica_framework.h"

#define PLACE "raplica/framework"

static DEFINE_MUTEX(one_command);

/* What the words behind a command's key say; ops and constraint_ops tell whether any were given at all. */
struct options {
	char *type, *parent;
	unsigned long set;
	bool ops, constraint_ops, own;
	int constraints;
};

static struct thing *find(const char *key, bool is_type)
{
	struct thing *thing;

	list_for_each_entry(thing, &raplica_things, node)
		if (key && thing->is_type == is_type && !strcmp(thing->key, key))
			return thing;
	return NULL;
}

static int parse_set(char *text, unsigned long *set)
{
	char *word;

	while ((word = strsep(&text, ","))) {
		int callback = *word ? raplica_callback(word) : CALLBACKS;

		if (callback < 0)
			return -EBADMSG;
		if (*word)
			*set |= BIT(callback);
	}
	return 0;
}

static int parse_options(char *text, struct options *options)
{
	char *word;
	int error = 0;

	while (!error && (word = strsep(&text, " "))) {
		if (!strncmp(word, "type=", 5))
			options->type = word + 5;
		else if (!strncmp(word, "parent=", 7))
			options->parent = word + 7;
		else if (!strncmp(word, "constraints=", 12))
			error = kstrtoint(word + 12, 10, &options->constraints);
		else if (!strncmp(word, "ops=", 4)) {
			options->ops = true;
			error = parse_set(word + 4, &options->set);
		} else if (!strncmp(word, "cops=", 5)) {
			options->constraint_ops = true;
			error = parse_set(word + 5, &options->set);
		} else if (!strcmp(word, "own"))
			options->own = true;
		else
			error = -EBADMSG;
	}
	return error ? -EBADMSG : 0;
}

static int add_type(struct thing *thing, const char *name, const struct options *options)
{
	struct powercap_control_type *made;

	thing->type = options->own ? &thing->own_type : NULL;
	made = powercap_register_control_type(thing->type, name, options->ops ? &thing->type_ops : NULL);
	if (IS_ERR(made))
		return PTR_ERR(made);
	thing->type = made;
	return 0;
}

static int add_zone(struct thing *thing, const char *name, const struct options *options)
{
	struct thing *type = find(options->type, true), *parent = find(options->parent, false);
	struct powercap_zone *made;

	/* A control type that has gone is no more than an address to the framework; a parent's memory must be there. */
	if ((options->type && !type) || (options->parent && !parent))
		return -EBADMSG;
	if (parent && !parent->registered && (parent->released || !parent->zone_ops.release))
		return -EBADMSG;
	thing->type = type ? type->type : NULL;
	made = powercap_register_zone(options->own ? &thing->own_zone : NULL, thing->type, name,
				      parent ? parent->zone : NULL, options->ops ? &thing->zone_ops : NULL,
				      options->constraints, options->constraint_ops ? &thing->constraint_ops : NULL);
	if (IS_ERR(made))
		return PTR_ERR(made);
	thing->zone = made;
	return 0;
}

static int add(const char *key, bool is_type, const char *name, char *rest)
{
	struct options options = {};
	struct thing *thing, *known = find(key, is_type);
	int error = parse_options(rest, &options);

	if (error || !*key || strlen(key) >= sizeof(thing->key) || (known && known->registered))
		return -EBADMSG;
	thing = kzalloc(sizeof(*thing), GFP_KERNEL);
	if (!thing)
		return -ENOMEM;
	strscpy(thing->key, key, sizeof(thing->key));
	thing->is_type = is_type;
	raplica_choose(thing, options.set);
	list_add(&thing->node, &raplica_things);
	raplica_registering = thing;
	error = is_type ? add_type(thing, name, &options) : add_zone(thing, name, &options);
	raplica_registering = NULL;
	thing->registered = !error;
	if (error)
		thing->zone = NULL;
	return error;
}

static int drop_type(struct thing *thing)
{
	int error;

	/* What never was registered, or is no more, can be asked about as long as its memory is there. */
	if (!thing || (!thing->registered && thing->type != &thing->own_type))
		return -EBADMSG;
	error = powercap_unregister_control_type(thing->type);
	if (!error)
		thing->registered = false;
	return error;
}

/* A zone can be taken out of another control type than its own, out of none, and none can be taken out. */
static int drop_zone(const char *key, char *rest)
{
	struct thing *thing = find(key, false);
	struct options options = {};
	struct powercap_control_type *type;

	if (parse_options(rest, &options) || (!thing && strcmp(key, "-")) || (thing && !thing->registered))
		return -EBADMSG;
	type = thing ? thing->type : NULL;
	if (options.type)
		type = strcmp(options.type, "-") && find(options.type, true) ? find(options.type, true)->type : NULL;
	if (thing && type)
		thing->registered = false;
	return powercap_unregister_zone(type, thing ? thing->zone : NULL);
}

/* CALLBACK[.CONSTRAINT] and one of: an error's name; a number; for get_name =TEXT or null */
static int set_answer(struct thing *thing, char *callback_name, const char *what)
{
	char *dot = strchr(callback_name, '.');
	unsigned int constraint = 0;
	struct answer *answer;
	int callback, error;

	if (dot) {
		*dot = '\0';
		if (kstrtouint(dot + 1, 10, &constraint) || constraint >= MAX_CONSTRAINTS_PER_ZONE)
			return -EBADMSG;
	}
	callback = raplica_callback(callback_name);
	if (!thing || callback < 0)
		return -EBADMSG;
	answer = &thing->answers[callback][constraint];
	if (callback == GET_NAME) {
		answer->named = *what == '=';
		return answer->named && strscpy(answer->name, what + 1, sizeof(answer->name)) < 0 ? -EBADMSG : 0;
	}
	error = raplica_error(what);
	answer->error = max(error, 0);
	return error < 0 && kstrtoull(what, 10, &answer->value) ? -EBADMSG : 0;
}

/*
 * type KEY [own] [ops=CALLBACK,...] [name=TEXT]
 * zone KEY [own] [type=KEY] [parent=KEY] [constraints=N] [ops=CALLBACK,...] [cops=CALLBACK,...] [name=TEXT]
 * untype KEY | unzone KEY|- [type=KEY|-] | answer KEY CALLBACK[.CONSTRAINT] ANSWER
 *
 * What is left out is a null pointer. KEY is for this module alone; a type and a zone may have the same.
 */
static int obey(char *text)
{
	char *verb = strsep(&text, " "), *key = strsep(&text, " "), *name = NULL;

	if (!key)
		return -EBADMSG;
	if (!strcmp(verb, "answer")) {
		char *callback = strsep(&text, " ");
		struct thing *zone = find(key, false);

		return text ? set_answer(zone ? zone : find(key, true), callback, text) : -EBADMSG;
	}
	if (!strcmp(verb, "type") || !strcmp(verb, "zone")) {
		if (text && !strncmp(text, "name=", 5)) {
			name = text + 5;
			text = NULL;
		} else if (text && (name = strstr(text, " name="))) {
			*name = '\0';
			name += 6;
		}
		return add(key, *verb == 't', name, text);
	}
	if (!strcmp(verb, "untype"))
		return drop_type(find(key, true));
	return strcmp(verb, "unzone") ? -EBADMSG : drop_zone(key, text);
}

static ssize_t command_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char *text = memdup_user_nul(from, min_t(size_t, length, PAGE_SIZE));
	int error;

	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&one_command);
	raplica_log_clear();
	error = obey(text);
	mutex_unlock(&one_command);
	kfree(text);
	return error ? error : length;
}

static ssize_t log_read(struct file *file, char __user *to, size_t length, loff_t *position)
{
	return raplica_log_read(to, length, position);
}

static const struct proc_ops command_ops = {
	.proc_read = log_read,
	.proc_lseek = default_llseek,
	.proc_write = command_write,
};

static int __init start(void)
{
	if (raplica_log_start())
		return -ENOMEM;
	if (proc_create(PLACE, 0600, NULL, &command_ops))
		return 0;
	raplica_log_stop();
	return -ENOMEM;
}

/* What is still there goes, the newest first, so that a zone goes before its parent and its control type. */
static void __exit stop(void)
{
	struct thing *thing, *next;

	remove_proc_entry(PLACE, NULL);
	list_for_each_entry(thing, &raplica_things, node)
		if (!thing->is_type && thing->registered)
			powercap_unregister_zone(thing->type, thing->zone);
	list_for_each_entry(thing, &raplica_things, node)
		if (thing->is_type && thing->registered)
			powercap_unregister_control_type(thing->type);
	list_for_each_entry_safe(thing, next, &raplica_things, node)
		kfree(thing);
	raplica_log_stop();
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("raplica: a client of the powercap framework that does as it is told");
