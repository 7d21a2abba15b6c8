"""What one configuration asks for: read, checked against its schema, and cross-checked."""

import importlib
from collections.abc import Iterable
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from segflow.files.labels import Labels, foreground, foreground_values, label_values
from segflow.files.manifests import CLASSIFIED, MEASURED, SEGMENTED
from segflow.models.folds import ALL_CASES
from segflow.models.model_plans import PLANNED
from segflow.models.planners import name_of_plans, normalisation, planning_of_data
from segflow.models.prediction_settings import (
    CASCADE,
    NNUNET_SETTINGS,
    REFERENCE,
    USUAL_TRIALS,
)
from segflow.predictors.baselines import BASELINES
from segflow.predictors.export_format import read_description
from segflow.run.cross_checks import check_downloads, check_run, chosen
from segflow.run.descriptions import (
    check_dataset,
    description_names,
    load_descriptions,
    load_published,
)
from segflow.run.miniature import explained_in_miniature, in_miniature
from segflow.run.schemas import PROJECT, check

EVALUATION_KEYS = (  # of data sets
    *("evaluated_regions", "surface_tolerance_mm", "distance_penalty_mm", "lesions", "bands"),
    *("subgroups", "metrics", "boundary_mm", "calibration", "froc"),
)

# Of data sets: nothing that is computed depends on them.
WORDS = ("title", "source", "license", "citation", "raw", "label_codes")

LEAKING = "on a split that leaks"  # in titles

PASSING = ("select", "new_images", "fresh", "pathvars")  # keys that change no result


def lasting(config: dict) -> dict:
    """Return the part of a configuration that results depend on."""
    return {key: value for key, value in config.items() if key not in PASSING}


class Run:
    """What one configuration asks for: data sets x models x folds, and the ensembles.

    Parameters
    ----------
    config : dict
        The merged configuration; it is checked and its defaults are filled in.

    Raises
    ------
    ValueError
        If a name is unknown, a fold does not exist, or an ensemble or a cascade is impossible.
    """

    def __init__(self, config: dict):
        _read_text(config)
        self.config = check(config, "config", "configuration")
        self.datasets = _described("dataset", config["datasets"], "datasets")
        for key in ("raw_folders", "raw_downloads", "splits", "published_splits"):
            chosen(list(config[key]), self.datasets, key)
        check_downloads(self)
        for name in self.datasets:
            self._describe(name)
        self.published = load_published(self.datasets)
        models = _described("model", config["models"], "models")
        for name in list(models):
            previous = models[name].get("previous_model")
            if previous is not None:
                models |= _described("model", [previous], f"models: {name}: previous_model")
        if "miniature" in config:
            models = {
                name: in_miniature(model, config["miniature"]) for name, model in models.items()
            }
        self.models = models
        self.n_folds: int = config["n_folds"]
        self.folds: list[int] = sorted(config["folds"]) or list(range(self.n_folds))
        if "saliency" in config and "miniature" in config:
            config["saliency"] = explained_in_miniature(config["saliency"])
        check_run(self)

    def _describe(self, name: str) -> None:
        """Take from the raw folder what the description of a data set leaves out."""
        dataset = self.datasets[name]
        converter = importlib.import_module(f"segflow.datasets.converters.{dataset['converter']}")
        where = f"config/datasets/{name}.yaml"
        if not {"channels", "labels"} <= dataset.keys() and hasattr(converter, "describe"):
            raw = self.raw_folder(name)
            try:
                found = converter.describe(raw)
            except (FileNotFoundError, ValueError) as error:
                raise ValueError(f"{where}: channels or labels are left out, and {error}") from None
            if "labels" in dataset:  # which the order of regions belongs to
                found.pop("regions_class_order", None)
            dataset = self.datasets[name] = check({**found, **dataset}, "dataset", where)
            check_dataset(dataset, where)
        if "labels" not in dataset and self.config["models"]:
            raise ValueError(
                f"{where}: has no labels, so there is nothing to segment; leave `models` empty"
            )

    def starts_from_previous(self, model: str) -> bool:
        """Say whether a training needs the segmentations of another model: a cascade's does."""
        return self.models[model]["configuration"] == CASCADE

    @property
    def studied_models(self) -> list[str]:
        """The models of a study of inference: those that it names, or all that can be."""
        named = self.config["inference_study"]["models"]
        able = [name for name in self.segmenting if "fold" not in self.models[name]]
        return named or able

    def settings_to_try(self, model: str) -> dict[str, dict[str, Any]]:
        """Return the ways to predict that a study of inference tries, nnU-Net's own first."""
        own = self.models[model]["prediction"]
        usual = NNUNET_SETTINGS | {"checkpoint": own["checkpoint"]}
        wanted = self.config["inference_study"]["settings"] or USUAL_TRIALS
        found = {REFERENCE: usual} | {name: usual | changes for name, changes in wanted.items()}
        return found if own in found.values() else found | {"configured": own}

    def learns_classes(self, model: str) -> bool:
        """Say whether a model learns the classes of cases: it has a head, or does nothing else."""
        return not {"head", "classifier"}.isdisjoint(self.models[model])

    def tells_only_classes(self, model: str) -> bool:
        """Say whether a model tells the classes of cases and segments nothing."""
        return "classifier" in self.models[model]

    def uses_age(self, model: str) -> bool:
        """Say whether the network of a model uses the ages of cases."""
        return bool(self.models[model]["network"]["options"].get("age"))

    @property
    def segmenting(self) -> list[str]:
        """The models that segment."""
        return [name for name in self.models if not self.tells_only_classes(name)]

    @cached_property
    def predictors(self) -> dict[str, dict[str, float]]:
        """Weight of each member model of each predictor: models first, then ensembles.

        Raises
        ------
        ValueError
            If an ensemble that `ensembles_up_to` asks for would have the name of another predictor.
        """
        predictors: dict[str, dict[str, float]] = {name: {name: 1.0} for name in self.segmenting}
        for name, ensemble in self.config["ensembles"].items():
            members = {
                member: weight
                for member, weight in self._weights(ensemble).items()
                if member in self.segmenting
            }
            if len(members) > 1:  # else the others only tell classes
                predictors[name] = members
        equal = {
            frozenset(chosen) for chosen in predictors.values() if len({*chosen.values()}) == 1
        }
        for size in range(2, self.config["ensembles_up_to"] + 1):
            for members in combinations(sorted(self.segmenting), size):
                if frozenset(members) in equal:  # it is there under another name
                    continue
                name = "_and_".join(members)
                if name in predictors:
                    raise ValueError(
                        f"configuration: ensembles_up_to: the name {name!r} of the ensemble of "
                        f"{', '.join(members)} is taken by another model or ensemble"
                    )
                predictors[name] = dict.fromkeys(members, 1.0)
        return predictors

    @staticmethod
    def _weights(ensemble: dict) -> dict[str, float]:
        """Return the weight of each member of an ensemble."""
        weights = ensemble.get("weights", [1.0] * len(ensemble["members"]))
        return dict(zip(ensemble["members"], map(float, weights), strict=True))

    def told_by_networks(self, predictor: str) -> bool:
        """Say whether networks alone say what a predictor says."""
        return self.classifiers.get(predictor, {}).keys() <= self.models.keys()

    def tells_classes(self, member: str) -> bool:
        """Say whether a model or a feature classifier tells the classes of cases."""
        return member in self.config["feature_classifiers"] or self.learns_classes(member)

    @cached_property
    def classifiers(self) -> dict[str, dict[str, float]]:
        """Weight of each member of each predictor that tells classes of cases.

        Models that learn them, feature classifiers, ensembles of those of their members that tell
        classes, and, where there is any of these, the baselines.
        """
        members = [*self.models, *self.config["feature_classifiers"]]
        found = {name: {name: 1.0} for name in members if self.tells_classes(name)}
        ensembles = {name: self._weights(one) for name, one in self.config["ensembles"].items()}
        for name, weights in {**self.predictors, **ensembles}.items():
            telling = {
                member: weight for member, weight in weights.items() if self.tells_classes(member)
            }
            if telling:
                found.setdefault(name, telling)
        return found | {name: {name: 1.0} for name in BASELINES if found}

    @property
    def networks(self) -> dict[str, dict[str, float]]:
        """Weight of each model whose networks a predictor uses, for label maps or for classes."""
        found = {}
        for name in self.predictors | self.classifiers:
            members = self.predictors.get(name, {}) | self.classifiers.get(name, {})
            if models := {one: members[one] for one in members if one in self.models}:
                found[name] = models
        return found

    @property
    def told_of_new_images(self) -> list[str]:
        """Names of the tables of what is said of new images: label maps, classes, or both.

        Classes that not only networks tell are left out.
        """
        if "new_images" not in self.config:
            return []
        wanted = self.config["new_images"]
        segmented, classified = True, False  # by nnU-Net from elsewhere
        if "archive" not in wanted:
            name = wanted["predictor"]
            segmented = name in self.predictors
            classified = bool(self.classes_by_networks(wanted["dataset"], name))
        elif "configuration" not in wanted and (found := read_description(Path(wanted["archive"]))):
            segmented, classified = found["postprocessing"] is not None, bool(found["classes"])
        return [SEGMENTED, MEASURED] * segmented + [CLASSIFIED] * classified

    @property
    def exportable(self) -> list[str]:
        """The predictors of which networks say all that an export can: label maps or classes."""
        return [
            name for name in self.networks if name in self.predictors or self.told_by_networks(name)
        ]

    def classes_by_networks(self, dataset: str, predictor: str) -> list[str]:
        """Return the classes that the networks of a predictor tell, if nothing else does."""
        told = predictor in self.classifiers and self.told_by_networks(predictor)
        return self.datasets[dataset]["classes"] if told else []

    def summaries(self, dataset: str) -> list[str]:
        """Return the names of the summaries that a data set has."""
        maps = ["summary.csv"] if self.predictors else []
        return maps + (["classification_summary.csv"] if self.classifies(dataset) else [])

    def has_classes(self, dataset: str) -> bool:
        """Say whether the cases of a data set are of two classes or more."""
        return len(self.datasets[dataset].get("classes", ())) > 1

    def is_cohort(self, dataset: str) -> bool:
        """Say whether the cases of a data set are subjects to be told apart by their brains."""
        return self.datasets[dataset].get("task") == "classification"

    def classifies(self, dataset: str) -> bool:
        """Say whether a predictor tells the classes of a data set's cases."""
        return bool(self.classifiers) and self.has_classes(dataset)

    def explained(self, dataset: str) -> list[str]:
        """Return the models of which it is shown what they look at in the brains of a data set."""
        if "saliency" not in self.config or not self.is_cohort(dataset):
            return []
        return [
            name
            for name, model in self.models.items()
            if self.tells_only_classes(name) and model.keys().isdisjoint({"fold", "previous_model"})
        ]

    @property
    def selected(self) -> dict[str, list]:
        """Values of the wildcards of the targets that `select` chooses."""
        select = self.config["select"]
        models = select["models"]
        return {
            "dataset": select["datasets"] or list(self.datasets),
            "model": [m for m in self.models if m in models] if models else list(self.models),
            "predictor": models or list(self.predictors | self.classifiers),
        }

    def folds_of(self, model: str) -> list[int | str]:
        """Return the folds that a model is trained on: those of the run, or ``all``."""
        return [ALL_CASES] if "fold" in self.models.get(model, ()) else self.folds

    def chosen_folds(self, model: str) -> list[int | str]:
        """Return the folds of a model that `select` chooses."""
        chosen = self.config["select"]["folds"]
        return [fold for fold in self.folds_of(model) if not chosen or fold in chosen]

    def splits_of(self, predictor: str) -> list[str]:
        """Return what a predictor predicts; networks that saw all training cases only ``test``."""
        members = self.predictors.get(predictor) or self.classifiers[predictor]
        cross_validated = all(ALL_CASES not in self.folds_of(member) for member in members)
        return ["val", "test"] if cross_validated else ["test"]

    def with_previous(self, models: Iterable[str]) -> list[str]:
        """Return models and, of cascades, the previous ones."""
        previous = (self.models[model].get("previous_model") for model in models)
        return list(dict.fromkeys([*models, *filter(None, previous)]))

    def members(self, predictor: str) -> list[tuple[str, int | str, float]]:
        """Return model, fold and weight of each network of a predictor."""
        return [
            (model, fold, weight)
            for model, weight in self.predictors[predictor].items()
            for fold in self.folds_of(model)
        ]

    def class_members(self, classifier: str, split: str) -> list[tuple[str, int | str, float]]:
        """Return member, fold and weight of each table of classes that a classifier averages.

        There are none of validation cases if a member was trained on all training cases.
        """
        members = self.classifiers[classifier]
        found = [
            (member, fold, weight)
            for member, weight in members.items()
            for fold in self.folds_of(member)
        ]
        whole = any(fold == ALL_CASES for _, fold, _ in found)
        return [] if whole and split == "val" else found

    def raw_folder(self, dataset: str) -> Path:
        """Return the folder of a data set's published files."""
        if dataset in self.config["raw_folders"]:
            return Path(self.config["raw_folders"][dataset]).absolute()
        raw = self.datasets[dataset]["raw"]
        here = Path(raw).absolute()
        # The embedded sample is where the project is, which need not be the working folder.
        return PROJECT / raw if not here.exists() and (PROJECT / raw).exists() else here

    def converted(self, dataset: str) -> dict[str, Any]:
        """Return what all that is computed from a data set depends on, and no words.

        It is the description less evaluation, with values for labels and normalisations for
        channels. The order of its keys means nothing.
        """
        described = self.datasets[dataset]
        content = {
            **described,
            "labels": label_values(described.get("labels", {})),
            "channels": [normalisation(channel) for channel in described["channels"]],
        }
        left_out = (*EVALUATION_KEYS, *WORDS)
        return {key: content[key] for key in sorted(content) if key not in left_out}

    def planned(self, model: str) -> dict[str, Any]:
        """Return what the plans of a model hold of its description."""
        described = self.models[model]
        return {key: described[key] for key in PLANNED if key in described}

    def classified(self, dataset: str, model: str) -> dict[str, Any]:
        """Return which classes a model tells apart, and the structure that it looks at, if any.

        Outputs of a network are labels by their values, or regions by their places; the values of
        a classifier's structure are those in label maps.
        """
        if not self.learns_classes(model):
            return {}
        key = "classifier" if self.tells_only_classes(model) else "head"
        described = self.datasets[dataset]
        labels = described["labels"]
        has_regions = any(isinstance(value, list) for value in labels.values())
        names = list(foreground(labels))
        chosen = self.models[model][key].get("structure", names)
        found = {
            "classes": described["classes"],
            "outputs": [names.index(name) if has_regions else labels[name] for name in chosen],
            "has_regions": has_regions,
        }
        if key == "classifier":
            found["values"] = foreground_values({name: labels[name] for name in chosen})
        return found

    def measured(self, dataset: str) -> Labels:
        """Return the labels and regions that are evaluated."""
        described = self.datasets[dataset]
        return described["labels"] | described["evaluated_regions"]

    def tolerances_mm(self, dataset: str) -> dict[str, float]:
        """Return the tolerance of the surface Dice of each label and region, if there is one."""
        found = self.datasets[dataset].get("surface_tolerance_mm", {})
        if isinstance(found, dict):
            return found
        return dict.fromkeys(foreground(self.measured(dataset)), found)

    def measures_probabilities(self, dataset: str) -> bool:
        """Say whether a data set asks for what only probabilities tell."""
        return not self.datasets[dataset].keys().isdisjoint({"calibration", "froc"})

    def part_rule(self, dataset: str) -> dict[str, Any]:
        """Return the parameters of `segflow.datasets.parts.PartRule` of a data set."""
        description = self.datasets[dataset]
        return {
            "held_out": description.get("held_out", 0.0),
            "published": dataset in self.config["published_splits"],
            "random_split": description.get("random_split"),
            # Only where it is so: another key would convert every data set again.
            **({"later_visits": True} if description.get("evaluated_visits") == "all" else {}),
            # Another seed converts again only where it changes what is held out.
            "seed": self.config["seed"] if "held_out" in description else 0,
        }

    def nnunet_name(self, dataset: str) -> str:
        """Return nnU-Net's name of a data set."""
        return f"Dataset{self.datasets[dataset]['id']:03d}_{dataset}"

    def plans(self, model: str) -> str:
        """Return the name of the base plans of a model."""
        return name_of_plans(self.models[model]["planning"])

    @cached_property
    def plannings(self) -> dict[str, dict[str, Any]]:
        """Planning options of base plans by name: those of models, and of the data they work on."""
        found = {}
        for model in self.models.values():
            own = model["planning"]
            for planning in (own, planning_of_data(own, _prepared_as(model["configuration"]))):
                found[name_of_plans(planning)] = planning
        return found

    def preprocessing(self, model: str) -> str:
        """Return the name of the preprocessed data of a model: base plans and configuration."""
        return "_".join(self._base(model))

    def base_of(self, preprocessing: str) -> tuple[str, str]:
        """Return base plans and configuration of a name of preprocessed data."""
        return next(self._base(m) for m in self.models if self.preprocessing(m) == preprocessing)

    def _base(self, model: str) -> tuple[str, str]:
        prepared = _prepared_as(self.models[model]["configuration"])
        planning = planning_of_data(self.models[model]["planning"], prepared)
        return name_of_plans(planning), prepared

    def task(self, predictor: str) -> str:
        """Return what a predictor says of a case: ``maps``, ``classes`` or ``both``."""
        if predictor not in self.classifiers:
            return "maps"
        return "both" if predictor in self.predictors else "classes"

    def title(self, predictor: str) -> str:
        """Return the title of a model, or what people read for the name of another predictor.

        In a miniature every title says so, so that nobody takes its numbers for results.
        """
        if predictor in BASELINES:
            return self._marked(BASELINES[predictor])
        if wanted := self.config["feature_classifiers"].get(predictor):
            method = wanted["method"].replace("_", " ").capitalize()
            if wanted["features"] == "regions":
                return self._marked(f"{method} on volumes of regions")
            return f"{method} on features of {self.title(wanted['predictor'])}"
        if predictor in self.config["ensembles"]:
            title = predictor.replace("_", " ").capitalize()
        else:
            title = " + ".join(self.models[name]["title"] for name in self.networks[predictor])
        return self._marked(f"{title}, in miniature" if "miniature" in self.config else title)

    def _marked(self, title: str) -> str:
        return f"{title}, {LEAKING}" if self.leaks else title

    @property
    def leaks(self) -> bool:
        """Whether a split that tears patients apart was asked for: a draw case by case."""
        return any(
            "random_split" in self.datasets[name] for name in self.config["published_splits"]
        )


def _prepared_as(configuration: str) -> str:
    """Return the configuration whose data another one works on: a cascade's second stage does."""
    return "3d_fullres" if configuration == CASCADE else configuration


def _read_text(config: dict) -> None:
    """Give values their types that Snakemake's ``--config`` leaves as text.

    These are ``true`` and ``false``, and numbers inside lists.
    """
    for key in ("fresh", "keep_probabilities"):
        if config.get(key) in ("true", "false"):
            config[key] = config[key] == "true"
    for mapping in (config, config.get("select")):
        if isinstance(mapping, dict) and isinstance(mapping.get("folds"), list):
            mapping["folds"] = [
                int(value) if isinstance(value, str) and value.isdigit() else value
                for value in mapping["folds"]
            ]


def _described(kind: str, names: list[str], key: str) -> dict[str, dict]:
    """Return the named descriptions; what is wrong in others stops only the runs that use them."""
    chosen(names, dict.fromkeys(description_names(kind)), key)
    return load_descriptions(kind, names)
